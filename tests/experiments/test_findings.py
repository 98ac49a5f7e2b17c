"""The overview's lines: the figures of the tables, of the rows that the paper looks at."""

from importlib import import_module

import pytest

from raymoe.experiments.registry import named


def finding(experiment: str, rows: list[dict]) -> str:
    return import_module(f"{named(experiment).folder}.show").finding(rows)


def test_comparison_names_every_model_in_the_first_metric():
    rows = [
        {"kind": "dense", "metric": "micro_f1", "mean": 70.04},
        {"kind": "dense", "metric": "macro_f1", "mean": 60.0},
        {"kind": "fl-i2moe", "metric": "micro_f1", "mean": 75.36},
        {"kind": "fl-i2moe", "metric": "macro_f1", "mean": 66.0},
    ]
    assert finding("comparison", rows) == "micro F1 in per cent: FL-I2MoE 75.4, Dense 70.0"


def faithful(kind, expert, method, value):
    limits = {f"over_random_{end}": value and value + by for end, by in (("low", -0.02), ("high", 0.01))}
    return {"kind": kind, "expert": expert, "method": method, "over_random": value, **limits}


def test_faithfulness_is_of_both_models_with_intervals():
    rows = [
        faithful("dense", "dense", "random", None),
        faithful("dense", "dense", "grad_attnroll", 0.068),
        faithful("fl-i2moe", "synergy", "grad_attnroll", 0.5),
        faithful("fl-i2moe", "all experts", "ig", 0.4),
        faithful("fl-i2moe", "all experts", "grad_attnroll", 0.01),
    ]
    said = finding("faithfulness", rows)
    assert said.endswith("points: Dense +6.8 (+4.8 to +7.8), FL-I2MoE +1.0 (−1.0 to +2.0)")


def test_alignment_compares_the_ends_of_the_importance_at_the_smallest_q():
    def row(score, expert, name, top, mean, choice="all pairs"):
        key = {"seed": None, "score": score, "expert": expert, "choice": choice, "samples": 30}
        return key | {"bin": name, "top": top, "mean": mean}

    rows = [
        row("sii", "synergy", "top 10 %", 20, 9.0),
        row("sii", "synergy", "top 10 %", 5, 0.104),
        row("sii", "synergy", "11-20 %", 5, 0.2),
        row("sii", "synergy", "21-30 %", 5, 0.093),
        row("sii", "redundancy", "21-30 %", 5, 8.0),
        row("redundancy_gap", "redundancy", "top 10 %", 5, 1.64),
        row("redundancy_gap", "redundancy", "21-30 %", 5, 0.72),
    ]
    said = finding("alignment", rows)
    assert said.endswith("features: mean SII 0.10 to 0.093, mean redundancy gap 1.6 to 0.72")
    assert said.startswith("Strongest pairs pooled, ")
    ends = (row("sii", "synergy", name, 5, mean, "same samples") for name, mean in (("a", 0.3), ("b", 0.2)))
    said = finding("alignment", [*rows, *ends])
    assert said.startswith("Strongest pairs of the 30 samples with pairs in every bin, ")
    assert said.endswith("features: mean SII 0.30 to 0.20"), "like is compared with like where there is any"


def test_pair_masking_holds_ranked_pairs_beside_as_many_features():
    def row(masking, share, drop, expert="synergy"):
        return {
            "seed": None,
            "score": "sii",
            "expert": expert,
            "share": share,
            "masking": masking,
            "drop": drop,
        }

    rows = [
        row("original", 5, 0.0),
        row("random pairs", 5, 0.9),
        row("random pairs, as many features", 5, 0.0225),
        row("ranked pairs", 5, 0.0237),
        row("ranked pairs", 50, 0.5),
        row("ranked pairs", 5, 0.7, expert="redundancy"),
    ]
    said = finding("pair-masking", rows)
    assert said == "Drop in points: top 5 % by SII 2.4, as many features at random 2.2"


def test_robustness_is_fl_i2moes_mean_over_seeds():
    def row(modality, disturbance, level, value, kind="fl-i2moe", quantity="micro_f1"):
        place = {"modality": modality, "disturbance": disturbance, "level": level}
        return {"kind": kind, "quantity": quantity, "value": value, **place}

    rows = [
        row("text", "noise", 0.0, 0.74),
        row("text", "noise", 0.0, 0.76),
        row("text", "noise", 2.0, 0.1),
        row("text", "missing", 1.0, 0.66),
        row("text", "missing", 1.0, 0.68),
        row("image", "missing", 1.0, 0.2),
        row("text", "missing", 1.0, 0.99, kind="dense"),
        row("text", "missing", 1.0, 0.99, quantity="expert_weight"),
    ]
    said = finding("robustness", rows)
    assert said == "FL-I2MoE's micro F1 in per cent: 75.0, without text 67.0, without image 20.0"


def test_planted_is_of_the_named_experts_over_seeds():
    def row(kind, expert, method, value, seed=None, measure="average_precision", scenes="all"):
        return {
            "scenes": scenes,
            "interaction": kind,
            "expert": expert,
            "method": method,
            "value": value,
            "seed": seed,
            "measure": measure,
        }

    rows = [
        row("synergistic", "synergy", "sii", 0.9, seed=0),
        row("synergistic", "synergy", "sii", 0.223),
        row("synergistic", "synergy", "sii", 0.8, measure="auroc"),
        row("synergistic", "synergy", "product", 0.071),
        row("synergistic", "redundancy", "sii", 0.5),
        row("synergistic", "synergy", "product", 0.9, scenes="alone"),
        row("redundant", "redundancy", "redundancy", 0.089),
        row("redundant", "redundancy", "product", 0.642),
    ]
    said = finding("planted", rows)
    assert "synergistic by SII 0.22, by the product 0.07" in said
    assert "redundant by redundancy 0.09, by the product 0.64" in said


def test_specificity_is_of_the_expert_whose_pairs_are_most_their_own():
    def row(expert, quantity, value):
        key = {"expert": expert, "u_modality": "text", "v_modality": "image", "seed": None}
        return key | {"quantity": quantity, "value": value}

    parts = {"synergy": (0.11, 0.76, 0.1, 0.03), "mixture": (0.2, 0.73, 0.06, 0.01)}
    rows = [
        row(expert, name, value)
        for expert, values in parts.items()
        for name, value in zip(("first", "second", "own", "noise"), values, strict=True)
    ]
    said = finding("specificity", rows)
    assert said == (
        "Of what distinguishes a sample's pairs (synergy expert), 11 % is what text features do with any "
        "partner, 76 % what image features do, 10 % the pairs' own, 3 % noise"
    )


@pytest.mark.parametrize(
    ("experiment", "rows"),
    [
        ("comparison", [{"kind": "dense", "metric": "accuracy", "mean": None}]),
        ("faithfulness", [faithful("dense", "dense", "random", None)]),
        ("alignment", []),
        ("pair-masking", []),
        ("robustness", []),
        ("planted", []),
        ("specificity", []),
        ("locality", []),
    ],
)
def test_tables_without_the_rows_say_nothing(experiment, rows):
    assert finding(experiment, rows) == ""
