from axilla.study.summary import SHOWN_SLIDES, outline_sentences


def test_repaired_outlines_are_named_by_slide():
    assert outline_sentences({"A": 0, "B": 0}) == ()
    (sentence,) = outline_sentences({"A": 2, "B": 0, "C": 1})
    assert sentence == (
        "Outlines that cross themselves were repaired, in slides (regions) A (2), C (1); "
        "`axilla explain --audit` draws what was taken."
    )
    (many,) = outline_sentences({f"S{n}": 1 for n in range(SHOWN_SLIDES + 3)})
    assert f"S{SHOWN_SLIDES - 1} (1) and 3 more;" in many
