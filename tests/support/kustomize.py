"""As much of `kustomize build` as deploy/kubernetes uses: resources, namespace, images, replicas, JSON 6902 replacements.

Anything else in a kustomization is refused, so that an overlay cannot quietly grow beyond what the tests look at.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

Resource = dict[str, Any]
KNOWN = {"apiVersion", "kind", "namespace", "resources", "images", "replicas", "patches"}
CLUSTER_WIDE = {"Namespace"}


def build(folder: Path) -> list[Resource]:
    """The resources an overlay stands for."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    unknown = set(kustomization) - KNOWN
    if unknown:
        raise ValueError(f"{folder}: this renderer does not know {sorted(unknown)}")
    resources = [resource for name in kustomization["resources"] for resource in _read((folder / name).resolve())]
    for patch in kustomization.get("patches", []):
        _patch(resources, patch)
    for replicas in kustomization.get("replicas", []):
        _find(resources, "Deployment", replicas["name"])["spec"]["replicas"] = replicas["count"]
    for image in kustomization.get("images", []):
        _rename(resources, image)
    namespace = kustomization.get("namespace")
    for resource in resources:
        if namespace and resource["kind"] not in CLUSTER_WIDE:
            resource["metadata"]["namespace"] = namespace
    return resources


def _read(path: Path) -> list[Resource]:
    if path.is_dir():
        return build(path)
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def _find(resources: list[Resource], kind: str, name: str) -> Resource:
    [found] = [one for one in resources if one["kind"] == kind and one["metadata"]["name"] == name]
    return found


def _patch(resources: list[Resource], patch: dict[str, Any]) -> None:
    resource = _find(resources, patch["target"]["kind"], patch["target"]["name"])
    for change in yaml.safe_load(patch["patch"]):
        if change["op"] != "replace":
            raise ValueError(f"this renderer does not know {change['op']!r}")
        *path, last = (part.replace("~1", "/").replace("~0", "~") for part in change["path"].split("/")[1:])
        place: Any = resource
        for part in path:
            place = place[int(part)] if isinstance(place, list) else place[part]
        key: Any = int(last) if isinstance(place, list) else last
        place[key]  # a replacement needs something to replace
        place[key] = deepcopy(change["value"])


def _rename(resources: list[Resource], image: dict[str, str]) -> None:
    for resource in resources:
        for container in resource.get("spec", {}).get("template", {}).get("spec", {}).get("containers", []):
            if container["image"] == image["name"]:
                container["image"] = f"{image['newName']}:{image['newTag']}"
