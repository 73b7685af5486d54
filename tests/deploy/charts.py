"""Helm's own library, asked by the tests: lints and renders a chart, and reads YAML.

    charts.py yaml < FILE               a document of YAML, as JSON
    charts.py lint CHART < VALUES       what `helm lint --strict` says, as JSON
    charts.py render CHART < VALUES     every object of `helm template`, as a list in JSON
"""

import json
import re
import sys

import helm_python

KUBERNETES = "v1.31.0"


def objects(chart, values):
    with helm_python.Chart.load(chart) as loaded:
        files = loaded.render(values, name="release", namespace="countersign")
    for name, text in sorted(files.items()):
        if not name.endswith(".yaml"):
            continue
        for document in re.split(r"^---\s*$", text, flags=re.MULTILINE):
            found = helm_python.values_from_yaml(document)
            if found:
                yield found


def main():
    asked, *chart = sys.argv[1:]
    given = helm_python.values_from_yaml(sys.stdin.read())
    if asked == "lint":
        answer = helm_python.lint(chart[0], given, strict=True, namespace="countersign", kube_version=KUBERNETES)
    elif asked == "render":
        answer = list(objects(chart[0], given))
    else:
        answer = given
    json.dump(answer, sys.stdout)


main()
