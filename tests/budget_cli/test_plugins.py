import json


def test_what_is_plugged_in_is_listed(budget):
    shown = budget("plugins")
    assert shown.exit_code == 0
    for text in ("langchain", "budget-suite", "budget_guards", "budget_commands", "not in use"):
        assert text in shown.stdout


def test_as_json(budget):
    listed = {plugin["name"]: plugin for plugin in json.loads(budget("plugins", "--json").stdout)}
    crewai = listed["crewai"]
    assert (crewai["hooks"], crewai["loaded"], crewai["problem"]) == (["budget_dropin"], True, None)
    assert listed["budget_core.sdk.installing"]["source"] == "built in"


def test_what_was_left_out_is_told_with_the_reason(process):
    shown = process("plugins", BUDGET_DISABLE_PLUGINS="crewai", COLUMNS="120")
    assert "left out: disabled by BUDGET_DISABLE_PLUGINS" in shown.stdout
    listed = json.loads(process("plugins", "--json", BUDGET_DISABLE_PLUGINS="1").stdout)
    left_out = {plugin["name"] for plugin in listed if not plugin["loaded"]}
    assert {"crewai", "langchain"} <= left_out
    assert "budget_core.sdk.installing" not in left_out
