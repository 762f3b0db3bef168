// The report's two scales: cividis for attention, brown to teal for contributions. Both can be told
// apart by readers who do not see red and green alike.

const CIVIDIS = ["#00224e", "#1a386f", "#434e6c", "#61656f", "#7d7c78", "#9b9476", "#bcae6c", "#dec958", "#fee838"];
const BROWN_TEAL = ["#003c30", "#0e726a", "#5bb3a8", "#b6e3dd", "#f5f5f4", "#f0deb0", "#cea053", "#975b12", "#543005"];

const parsed = (stops) => stops.map((stop) => [1, 3, 5].map((at) => parseInt(stop.slice(at, at + 2), 16)));

function scale(stops) {
  const colours = parsed(stops);
  const table = Array.from({ length: 256 }, (_, index) => {
    const at = (index / 255) * (colours.length - 1);
    const low = Math.min(Math.floor(at), colours.length - 2);
    const mixed = colours[low].map((part, k) => Math.round(part + (at - low) * (colours[low + 1][k] - part)));
    return `rgb(${mixed.join(" ")})`;
  });
  return (part) => table[Math.max(0, Math.min(255, Math.round(255 * part)))];
}

export const attentionColour = scale(CIVIDIS);
export const contributionColour = scale(BROWN_TEAL);
