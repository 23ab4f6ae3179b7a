"""Alerts with a mistake in each, so that one can see whether the alert tests notice."""

import copy
import re
from collections.abc import Iterator
from typing import Any

Rule = dict[str, Any]

#: What stands in place of an operator.
_WRONG = {">": "<", "<": ">", "!=": "==", "and": "or", "unless": "or"}
_OPERATOR = re.compile(r'!=(?=")|(?<=\s)(?:>|<|!=|and|unless)(?=\s)')


def mutants(rule: Rule) -> Iterator[Rule]:
    """Give an alert with each operator wrong in turn, and without its patience, under other names."""
    wrong = []
    for match in _OPERATOR.finditer(rule["expr"]):
        operator = "=" if match.string[match.end()] == '"' else _WRONG[match[0]]
        wrong.append({"expr": rule["expr"][: match.start()] + operator + rule["expr"][match.end() :]})
    if "for" in rule:
        wrong.append({"for": "0s"})
    for number, change in enumerate(wrong):
        yield {**copy.deepcopy(rule), **change, "alert": f"{rule['alert']}_{number}"}


def with_mutants(groups: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, list[str]]]:
    """Return the groups with every mutant beside its alert, and the mutants' names by alert."""
    names: dict[str, list[str]] = {}
    found = []
    for group in groups:
        rules = []
        for rule in group["rules"]:
            rules.append(rule)
            if "alert" in rule:
                made = list(mutants(rule))
                names[rule["alert"]] = [each["alert"] for each in made]
                rules += made
        found.append({**group, "rules": rules})
    return found, names


def needed_by(document: dict[str, Any], groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return of the groups only the rules that a file of alert tests is about, and what those ask for."""
    tests = document["tests"]
    wanted = {each["alertname"] for test in tests for each in test.get("alert_rule_test", [])}
    texts = [each["expr"] for test in tests for each in test.get("promql_expr_test", [])]
    rules = [rule for group in groups for rule in group["rules"]]
    texts += [rule["expr"] for rule in rules if rule.get("alert") in wanted]
    wanted |= {rule["record"] for rule in rules if any(rule.get("record", "?") in text for text in texts)}
    return [
        {
            **group,
            "rules": [each for each in group["rules"] if {each.get("alert"), each.get("record")} & wanted],
        }
        for group in groups
    ]


def asked_of_mutants(document: dict[str, Any], names: dict[str, list[str]]) -> dict[str, Any]:
    """Return a file of alert tests in which everything asked of an alert is asked of its mutants too."""
    made = copy.deepcopy(document)
    for test in made["tests"]:
        asked = test.get("alert_rule_test", [])
        test["alert_rule_test"] = asked + [
            {**each, "alertname": name} for each in asked for name in names[each["alertname"]]
        ]
    return made
