"""The overlays are valid Kubernetes, say what REQUIREMENTS J2 says, and keep the pods where they belong."""

from __future__ import annotations

import ipaddress
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.support.kustomize import Resource, build

OVERLAYS = Path(__file__).parents[3] / "deploy" / "kubernetes" / "overlays"
ENVIRONMENTS = ("test", "staging", "production")
ROLES = {"gateway": 8080, "auth": 9001, "parser": 9002, "downloader": 9003, "asset": 9004}
PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "127.0.0.0/8", "100.64.0.0/10")


@cache
def overlay(environment: str) -> list[Resource]:
    return build(OVERLAYS / environment)


def of_kind(environment: str, kind: str) -> dict[str, Resource]:
    return {one["metadata"]["name"]: one for one in overlay(environment) if one["kind"] == kind}


def pod(workload: Resource) -> dict[str, Any]:
    spec: dict[str, Any] = workload["spec"]["template"]["spec"]
    return spec


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("version", ["1.29", "1.33"])
def test_every_resource_is_valid_by_the_schemas_of_kubernetes(environment: str, version: str) -> None:
    for resource in overlay(environment):
        kubernetes_validate.validate(resource, version, strict=True)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_no_two_resources_have_the_same_name(environment: str) -> None:
    names = [(one["kind"], one["metadata"]["name"]) for one in overlay(environment)]
    assert len(names) == len(set(names))


def test_production_runs_3_2_2_5_2_replicas() -> None:
    replicas = {name: one["spec"]["replicas"] for name, one in of_kind("production", "Deployment").items()}
    assert replicas == {"gateway": 3, "auth": 2, "parser": 2, "downloader": 5, "asset": 2}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_each_role_starts_its_command_with_its_environments_file(environment: str, deploy: Path) -> None:
    for role, deployment in of_kind(environment, "Deployment").items():
        [container] = pod(deployment)["containers"]
        assert container["args"] == [role, "--config", f"/etc/vasset/environments/{environment}.yaml"]
        assert {port["containerPort"] for port in container["ports"]} >= {ROLES[role]}
    assert (deploy / "environments" / f"{environment}.yaml").is_file()
    assert set(of_kind(environment, "Deployment")) == set(ROLES)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_pods_run_without_root_rights_or_a_writable_image(environment: str) -> None:
    for deployment in of_kind(environment, "Deployment").values():
        spec = pod(deployment)
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] == 10001
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        [container] = spec["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_pod_has_probes_resources_and_is_scraped_where_it_answers(environment: str) -> None:
    for role, deployment in of_kind(environment, "Deployment").items():
        [container] = pod(deployment)["containers"]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
            assert container[probe]["httpGet"]["path"] == path, (role, probe)
            assert container[probe]["httpGet"]["port"] in ports
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]
        annotations = deployment["spec"]["template"]["metadata"]["annotations"]
        assert int(annotations["prometheus.io/port"]) in ports.values()
        health = ROLES[role] if role == "gateway" else ROLES[role] + 100
        assert int(annotations["prometheus.io/port"]) == health


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_no_secret_is_written_down(environment: str) -> None:
    assert not of_kind(environment, "Secret")
    for workload in [*of_kind(environment, "Deployment").values(), *of_kind(environment, "StatefulSet").values()]:
        for container in pod(workload)["containers"]:
            for variable in container.get("env", []):
                name = variable["name"]
                if any(word in name for word in ("PASS", "TOKEN", "KEY", "_URL")):
                    assert "secretKeyRef" in variable["valueFrom"], name


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_services_and_budgets_select_the_pods_of_their_name(environment: str) -> None:
    deployments = of_kind(environment, "Deployment")
    for role in ROLES:
        labels = deployments[role]["spec"]["template"]["metadata"]["labels"]
        service = of_kind(environment, "Service")[role]
        assert service["spec"]["selector"].items() <= labels.items()
        assert [port["port"] for port in service["spec"]["ports"]] == [ROLES[role]]
        assert service["spec"].get("clusterIP") == (None if role == "gateway" else "None")
        budget = of_kind(environment, "PodDisruptionBudget")[role]
        assert budget["spec"]["selector"]["matchLabels"].items() <= labels.items()
        assert budget["spec"]["maxUnavailable"] == 1


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_scaling_starts_where_the_replicas_are(environment: str) -> None:
    deployments = of_kind(environment, "Deployment")
    scalers = of_kind(environment, "HorizontalPodAutoscaler")
    assert set(scalers) == {"gateway", "parser", "downloader"}
    for role, scaler in scalers.items():
        assert scaler["spec"]["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": role}
        replicas = deployments[role]["spec"]["replicas"]
        assert scaler["spec"]["minReplicas"] <= replicas < scaler["spec"]["maxReplicas"]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_everything_is_denied_before_it_is_allowed(environment: str) -> None:
    policy = of_kind(environment, "NetworkPolicy")["deny-all"]["spec"]
    assert policy == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_only_parser_and_downloader_reach_the_internet_and_no_private_range(environment: str) -> None:
    reaching = {
        role
        for role, one in of_kind(environment, "Deployment").items()
        if one["spec"]["template"]["metadata"]["labels"].get("vasset/egress") == "public"
    }
    assert reaching == {"parser", "downloader"}
    [rule] = of_kind(environment, "NetworkPolicy")["allow-public-internet"]["spec"]["egress"]
    blocks = [target["ipBlock"] for target in rule["to"]]
    four = next(block for block in blocks if block["cidr"] == "0.0.0.0/0")
    refused = [ipaddress.ip_network(text) for text in four["except"]]
    for text in PRIVATE:
        assert any(ipaddress.ip_network(text).subnet_of(network) for network in refused), text  # type: ignore[arg-type]
    six = next(block for block in blocks if ":" in block["cidr"])
    assert ipaddress.ip_network(six["cidr"]).is_global
    assert all(port["protocol"] == "TCP" for port in rule["ports"])


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_ingress_has_a_certificate_and_hides_metrics(environment: str) -> None:
    ingress = of_kind(environment, "Ingress")["vasset"]
    assert "cert-manager.io/cluster-issuer" in ingress["metadata"]["annotations"]
    [rule] = ingress["spec"]["rules"]
    assert ingress["spec"]["tls"] == [{"hosts": [rule["host"]], "secretName": "vasset-tls"}]
    paths = {(path["path"], path["pathType"]) for path in rule["http"]["paths"]}
    assert ("/", "Exact") in paths
    assert ("/", "Prefix") not in paths
    assert not any(path.startswith(("/metrics", "/readyz", "/healthz")) for path, _ in paths)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_files_are_shared_by_those_who_touch_them(environment: str) -> None:
    claim = of_kind(environment, "PersistentVolumeClaim")["vasset-files"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    sharing = {
        role
        for role, one in of_kind(environment, "Deployment").items()
        for volume in pod(one)["volumes"]
        if volume.get("persistentVolumeClaim", {}).get("claimName") == "vasset-files"
    }
    assert sharing == {"gateway", "downloader", "asset"}


def test_a_drained_worker_has_time_to_hand_its_leases_back(deploy: Path) -> None:
    drain_seconds = yaml.safe_load((deploy / "environments" / "production.yaml").read_text())["drain_seconds"]
    grace = pod(of_kind("production", "Deployment")["downloader"])["terminationGracePeriodSeconds"]
    assert grace >= drain_seconds + 30


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_everything_lives_in_the_environments_own_namespace(environment: str) -> None:
    for resource in overlay(environment):
        if resource["kind"] != "Namespace":
            assert resource["metadata"]["namespace"] == f"vasset-{environment}"
