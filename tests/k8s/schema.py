"""The schema that the API server holds a RayCluster to, as plain JSON schema, and stricter: it forgives no typo.

Kubernetes drops fields that a schema does not know, and a manifest that is misspelt does something else than it says.
Here an object that names its fields takes no others. The templates of other kinds are held to the part of it that
describes a pod.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

_CRD = Path(__file__).parent / "crds" / "raycluster.yaml"
_RAY = ("spec", "properties", "headGroupSpec", "properties")


@cache
def raycluster() -> Draft202012Validator:
    return Draft202012Validator(strict(_loaded()))


@cache
def pod_spec() -> Draft202012Validator:
    return Draft202012Validator(strict(_within(*_RAY, "template", "properties", "spec")))


@cache
def service() -> Draft202012Validator:
    return Draft202012Validator(strict(_within(*_RAY, "headService")))


@cache
def ingress_rule() -> Draft202012Validator:
    """Of a NetworkPolicy."""
    policy = ("spec", "properties", "networkPolicy", "properties", "head", "properties")
    return Draft202012Validator(strict(_within(*policy, "ingressRules", "items")))


def complaints(validator: Draft202012Validator, value: Any) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


def strict(schema: Any) -> Any:
    """The schema with Kubernetes' own words put into those of JSON schema."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: strict(part) for name, part in schema.items() if not name.startswith("x-kubernetes-")}
    if schema.get("x-kubernetes-int-or-string"):
        made["type"] = ["integer", "string"]
    if _is_object(schema) and "additionalProperties" not in schema:
        made["additionalProperties"] = bool(schema.get("x-kubernetes-preserve-unknown-fields"))
    if isinstance(schema.get("properties"), dict):  # their names are fields, whatever they are called
        made["properties"] = {name: strict(part) for name, part in schema["properties"].items()}
    if schema.get("nullable"):
        made = {"anyOf": [{"type": "null"}, made]}
    return made


def _is_object(schema: dict[str, Any]) -> bool:
    return schema.get("type") == "object" and isinstance(schema.get("properties"), dict)


def _within(*path: str) -> Any:
    part = _loaded()["properties"]
    for name in path:
        part = part[name]
    return part


@cache
def _loaded() -> Any:
    return yaml.safe_load(_CRD.read_text(encoding="utf-8"))
