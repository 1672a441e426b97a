"""What `agentbudget` documents for CrewAI, word for word but for the import."""

DOCUMENTED = """
from budget_compat.agentbudget.integrations.crewai import CrewAIBudgetMiddleware

with CrewAIBudgetMiddleware(budget="$3.00") as middleware:
    result = middleware.track(
        crew.kickoff(),
        cost=0.50,
        tool_name="crew_run"
    )

print(middleware.get_report())
"""


def test_the_documented_program_runs(kit, provider, capsys):
    names = {"crew": kit.crew()}
    exec(DOCUMENTED, names)  # noqa: S102
    report = names["middleware"].get_report()
    assert names["result"].raw == "done"
    assert provider.bill == 0.003
    assert report["total_spent"] == 0.50
    assert report["breakdown"]["tools"]["by_tool"] == {"crew_run": 0.497}
    assert "'total_spent': 0.5" in capsys.readouterr().out
