from xml.etree import ElementTree

import pandas as pd

from axilla.analysis.tables.markup import escape_latex, to_csv, to_html, to_latex

FRAME = pd.DataFrame(
    {
        "Method": ["<b>DL_CNB</b>", "R&D 5% ±"],
        "AUC": ["0.613^a,b [0.545, 0.678]", "–^c"],
    }
)


def test_csv_is_plain():
    assert to_csv(FRAME) == ('Method,AUC\n<b>DL_CNB</b>,"0.613^a,b [0.545, 0.678]"\nR&D 5% ±,–^c\n')


def test_html_is_escaped_and_well_formed():
    text = to_html(FRAME, caption="A < B", notes=["a: p < 0.0001"])
    table = ElementTree.fromstring(text)  # noqa: S314 - our own text, parsed to see that it parses
    cells = ["".join(cell.itertext()) for cell in table.findall("./tbody/tr/td")]
    assert cells == ["<b>DL_CNB</b>", "0.613a,b [0.545, 0.678]", "R&D 5% ±", "–c"]
    assert [mark.text for mark in table.iter("sup")] == ["a,b", "c"]
    assert table.findtext("caption") == "A < B"
    assert table.findtext("./tfoot/tr/td/p") == "a: p < 0.0001"
    assert table.find("./tfoot/tr/td").get("colspan") == "2"


def test_html_without_notes_has_no_foot():
    assert "tfoot" not in to_html(FRAME, caption="x")


def test_latex_is_escaped():
    text = to_latex(FRAME, caption="Performance (%)", notes=["a: p < 0.0001"])
    assert r"\caption{Performance (\%)}" in text
    assert r"\begin{tabular}{ll}" in text
    assert r"\textless{}b\textgreater{}DL\_CNB\textless{}/b\textgreater{}" in text
    assert r" & 0.613\textsuperscript{a,b} [0.545, 0.678] \\" in text
    assert r"R\&D 5\% $\pm$ & --\textsuperscript{c} \\" in text
    assert "\\par a: p \\textless{} 0.0001\n\\end{table}\n" in text


def test_latex_backslash_is_escaped_once():
    assert escape_latex("\\{^~") == r"\textbackslash{}\{\textasciicircum{}\textasciitilde{}"
