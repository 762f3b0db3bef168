import re
from xml.etree import ElementTree

import pandas as pd
import pytest

from axilla.analysis.tables.markup import escape_latex, to_csv, to_html, to_latex

FRAME = pd.DataFrame(
    {
        "Method": ["<b>DL_CNB</b>", "R&D 5% ±"],
        "AUC": ["0.613^a,b [0.545, 0.678]", "–^c"],
        "z": ["−0.5", "12"],
    }
)
NOTES = ("a: p < 0.0001", "er: no p-value, all are alike.")


def test_csv_is_plain():
    assert to_csv(FRAME) == (
        'Method,AUC,z\n<b>DL_CNB</b>,"0.613^a,b [0.545, 0.678]",−0.5\nR&D 5% ±,–^c,12\n'
    )


def read(text):
    return ElementTree.fromstring(text)  # noqa: S314 - our own text, parsed to see that it parses


def test_html_is_escaped_and_well_formed():
    table = read(to_html(FRAME, caption="A < B", notes=NOTES)).find("./body/table")
    cells = ["".join(cell.itertext()) for cell in table.findall("./tbody/tr/td")]
    assert cells == [
        "<b>DL_CNB</b>",
        "0.613a,b [0.545,\u00a00.678]",
        "−0.5",
        "R&D 5% ±",
        "–c",
        "12",
    ]
    assert [mark.text for mark in table.find("tbody").iter("sup")] == ["a,b", "c"]
    assert table.findtext("caption") == "A < B"
    foot = ["".join(note.itertext()) for note in table.findall("./tfoot/tr/td/p")]
    assert foot == ["a p < 0.0001", "er: no p-value, all are alike."]
    assert [mark.text for mark in table.find("tfoot").iter("sup")] == ["a"]
    assert table.find("./tfoot/tr/td").get("colspan") == "3"


def test_html_carries_its_encoding_and_its_rules_with_it():
    page = read(to_html(FRAME, caption="x"))
    assert page.find("./head/meta").get("charset") == "utf-8"
    table = page.find("./body/table")
    # Nothing but elements' own styles survives copy and paste into a word processor.
    assert page.find(".//style") is None
    assert not [element for element in page.iter() if element.get("class")]
    assert "border-collapse: collapse" in table.get("style")
    for head in table.findall("./thead/tr/th"):
        assert "border-top: 1.5pt solid" in head.get("style")
        assert "border-bottom: 0.75pt solid" in head.get("style")
    borders = ["border" in cell.get("style") for cell in table.findall("./tbody/tr/td")]
    assert borders == [False] * 3 + [True] * 3, "a rule below the last row only"
    right = ["text-align: right" in cell.get("style") for cell in table.findall("./tbody/tr/td")]
    assert right == [False, False, True] * 2


def test_a_wide_table_asks_for_paper_on_its_side():
    wide = pd.DataFrame([["x"] * 9], columns=list("abcdefghi"))
    assert "size: 297mm 210mm" in to_html(wide, caption="x")
    assert "@page" not in to_html(wide.iloc[:, :8], caption="x")


def test_html_without_notes_has_no_foot():
    assert "tfoot" not in to_html(FRAME, caption="x")


def test_latex_is_escaped():
    text = to_latex(FRAME, caption="Performance (%)", notes=NOTES)
    assert r"\caption{Performance (\%)}" in text
    assert r"\begin{tabular}{llr}" in text
    assert r"\textless{}b\textgreater{}DL\_CNB\textless{}/b\textgreater{}" in text
    assert r" & 0.613\textsuperscript{a,b} [0.545, 0.678] & $-$0.5 \\" in text
    assert r"R\&D 5\% $\pm$ & --\textsuperscript{c} & 12 \\" in text
    assert (
        "\\par\\raggedright\\footnotesize \\textsuperscript{a} p \\textless{} 0.0001\n"
        "\\par\\raggedright\\footnotesize er: no p-value, all are alike.\n\\end{table}\n"
    ) in text


def test_latex_backslash_is_escaped_once():
    assert escape_latex("\\{^~") == r"\textbackslash{}\{\textasciicircum{}\textasciitilde{}"


COMMANDS = {
    "begin", "end", "centering", "caption", "toprule", "midrule", "bottomrule", "resizebox",
    "textwidth", "par", "raggedright", "footnotesize", "textsuperscript", "textless",
    "textgreater", "textbackslash", "textasciitilde", "textasciicircum", "pm", "leq", "geq",
    "times", "mu", "cdot", "approx",
}  # fmt: skip
"""LaTeX's own, booktabs' and graphicx's, as far as a table may use them."""


def check_latex(text):
    """What stops LaTeX: no engine is there to ask. Returns the cells of each row.

    Commands must be known, braces and environments closed in order, mathematics closed in its
    line, specials escaped, characters those that LaTeX's fonts have, and rows as long as the
    tabular is wide and not begun by what the row's end before would take for its options.
    """
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert all(character.isascii() or character in "éüµ" for character in body)
    found = re.findall(r"\\([a-zA-Z]+|.)", body, flags=re.DOTALL)
    assert set(found) - set("\\&%$#_{}") <= COMMANDS
    bare = re.sub(r"\\(?:[a-zA-Z]+|.)", "", body, flags=re.DOTALL)
    assert not set("#_~") & set(bare)
    # A % outside an escape comments its line's end away: only behind the brace of the scaled box.
    assert all(line.endswith("{%") for line in bare.splitlines() if "%" in line)
    depth = 0
    for character in bare:
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0
    assert all(line.count("$") % 2 == 0 for line in bare.splitlines())
    assert "^" not in re.sub(r"\$[^$]*\$", "", bare)
    opened = []
    for command, name in re.findall(r"\\(begin|end)\{(\w+)\}", body):
        if command == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert opened == []
    width = len(re.search(r"\\begin\{tabular\}\{([lrc]+)\}", body).group(1))
    inner = body.split(r"\toprule")[1].split(r"\bottomrule")[0]
    assert not re.search(r"\\\\\s*[\[*]", inner)
    assert not re.match(r"\s*[\[(]", inner)
    rows = [row for row in inner.replace(r"\midrule", "").split(r"\\") if row.strip()]
    cells = [re.split(r"(?<!\\)&", row) for row in rows]
    assert {len(row) for row in cells} == {width}
    return cells


@pytest.mark.parametrize("wide", [False, True])
def test_latex_has_nothing_that_stops_it(wide):
    odd = ["[x]", "*", "a & b % c # d _ e { f } g ~ h ^ i \\ j $ k", "±–−≤≥×µμ²³·≈", "two\n\nlines",
           "0.613^a [0.545, 0.678]", "Zoé Müller"]  # fmt: skip
    frame = pd.DataFrame({"[odd]": odd, "Figure": ["0.5"] * len(odd)})
    if wide:
        frame = frame.assign(**{f"column {i}": "80.32 [76.99, 83.35]" for i in range(7)})
    text = to_latex(frame, caption="".join(odd[:4]), notes=[*odd, "a: mark"])
    rows = check_latex(text)
    assert len(rows) == 1 + len(odd)
    assert (r"\resizebox{\textwidth}" in text) == wide


@pytest.mark.parametrize(
    "broken", ["a_b", "50% of", "x {", "x & y", r"\unknown{}", "≥", r"\end{table}"]
)
def test_the_check_finds_what_stops_latex(broken):
    text = to_latex(pd.DataFrame({"A": ["PLACE"]}), caption="x").replace("PLACE", broken)
    with pytest.raises((AssertionError, IndexError)):
        check_latex(text)
