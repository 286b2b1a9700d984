"""A published third-party Assets client against the stand-in, its code unchanged.

`AssetsCloud` and `AssetsServer` of atlassian-python-api (PyPI). Their fixed hosts, https://api.atlassian.com among them, are
led to loopback by an adapter of the requests session. Usage: assets.py PATH-OF-JSM-SIM
"""

import subprocess
import sys
from urllib.parse import urlsplit

import requests
from atlassian.assets.assets_cloud import AssetsCloud
from atlassian.assets.assets_server import AssetsServer
from requests.adapters import HTTPAdapter

SITE = "https://contoso.atlassian.net"


class ToLoopback(HTTPAdapter):
    """Sends every request to the stand-in, whatever host it is for."""

    def __init__(self, base):
        self.base = base
        super().__init__()

    def send(self, request, **options):
        parts = urlsplit(request.url)
        request.url = self.base + parts.path + ("?" + parts.query if parts.query else "")
        options["verify"] = False
        options["proxies"] = {}
        return super().send(request, **options)


class StandIn:
    """A running stand-in."""

    def __init__(self, program, flavour):
        self.process = subprocess.Popen(
            [program, "--flavour", flavour, "--schema", "People=ENT", "--page-max", "3", "--token", "token", "--control"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )
        self.base = self.process.stdout.readline().strip().removeprefix("jsm-sim: ")

    def session(self):
        session = requests.Session()
        session.mount("https://", ToLoopback(self.base))
        return session

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


def attributes(values, ids):
    return [
        {"objectTypeAttributeId": ids[name], "objectAttributeValues": [{"value": value} for value in listed]}
        for name, listed in values.items()
    ]


def refused(call, status, words=""):
    try:
        call()
    except requests.HTTPError as error:
        assert error.response.status_code == status and words in str(error), f"{error}, not {status} {words}"
        return
    raise AssertionError(f"not refused: {status} {words}")


def build(assets, schema):
    """Types, attributes and a first object, over the client."""
    user = assets.create_object_type({"name": "User", "iconId": "2", "objectSchemaId": schema["id"]})
    group = assets.create_object_type({"name": "Group", "iconId": "3", "objectSchemaId": schema["id"]})
    status = assets.create_status_type({"name": "Left", "category": 0, "objectSchemaId": schema["id"]})
    reference = assets.create_reference_type({"name": "Member of", "objectSchemaId": schema["id"]})
    assets.create_object_type_attribute(user["id"], {
        "name": "Object ID", "type": 0, "defaultTypeId": 0, "uniqueAttribute": True, "minimumCardinality": 1})
    assets.create_object_type_attribute(user["id"], {
        "name": "Groups", "type": 1, "typeValue": group["id"], "additionalValue": reference["id"],
        "maximumCardinality": -1})
    assets.create_object_type_attribute(user["id"], {
        "name": "Status", "type": 7, "typeValueMulti": [status["id"]]})
    flat = assets.get_object_schema_object_types_flat(schema["id"])
    assert sorted(entry["name"] for entry in flat) == ["Group", "User"], flat
    listed = assets.get_object_type_attributes(user["id"])
    assert [entry["name"] for entry in listed][:2] == ["Key", "Name"], listed
    assert sum(entry["label"] for entry in listed) == 1
    named = {entry["name"]: entry["id"] for entry in listed}
    of_group = {entry["name"]: entry["id"] for entry in assets.get_object_type_attributes(group["id"])}
    return user, group, named, of_group


def objects(assets, user, group, ids, of_group):
    """Create, read, partial update, clear, refuse, delete."""
    vpn = assets.create_object(group["id"], attributes({"Name": ["VPN"]}, of_group))
    assert "attributes" not in vpn and vpn["objectKey"] == f"ENT-{vpn['id']}", vpn
    values = {"Name": ["Adele Vance"], "Object ID": ["1"], "Groups": [str(vpn["id"])], "Status": ["Left"]}
    adele = assets.create_object(user["id"], attributes(values, ids))
    held = assets.get_object(adele["id"])
    assert held["label"] == "Adele Vance" and held["objectType"]["name"] == "User", held
    assert assets.get_object_attribute_value(adele["id"], ids["Object ID"]) == "1"
    by_id = {entry["objectTypeAttributeId"]: entry["objectAttributeValues"] for entry in held["attributes"]}
    assert by_id[ids["Groups"]][0]["referencedObject"]["label"] == "VPN", by_id
    assert by_id[ids["Status"]][0]["displayValue"] == "Left" and "value" not in by_id[ids["Status"]][0]
    changed = assets.update_object(adele["id"], user["id"], attributes({"Groups": []}, ids))
    assert ids["Groups"] not in [entry["objectTypeAttributeId"] for entry in changed["attributes"]]
    assert assets.get_object_attribute_value(adele["id"], ids["Name"]) == "Adele Vance", "the rest stays"
    refused(lambda: assets.create_object(user["id"], attributes(values, ids)), 400, "duplicated value")
    refused(lambda: assets.create_object(user["id"], attributes({"Object ID": ["2"]}, ids)), 400, "at least 1")
    for n in range(2, 9):
        assets.create_object(user["id"], attributes({"Name": [f"Person {n}"], "Object ID": [str(n)]}, ids))
    assets.delete_object(adele["id"])
    refused(lambda: assets.get_object(adele["id"]), 404, "No object with id")


def cloud(program):
    stand_in = StandIn(program, "cloud")
    try:
        session = stand_in.session()
        # It wraps the session it is given: authentication and headers are its own.
        assets = AssetsCloud(url=SITE, username="importer@contoso.com", password="token", cloud=True, session=session)
        schemas = assets.list_object_schema()
        assert schemas["isLast"] is True and [entry["name"] for entry in schemas["values"]] == ["People"], schemas
        user, group, ids, of_group = build(assets, schemas["values"][0])
        assert isinstance(user["id"], str) and user["globalId"].endswith(":" + user["id"]), user
        objects(assets, user, group, ids, of_group)
        query, found = 'objectType = "User" ORDER BY Key ASC', []
        while True:
            page = assets.aql(query, start=len(found), max_results=500)
            assert page["maxResults"] == 3 and len(page["values"]) <= 3, page
            found += [entry["label"] for entry in page["values"]]
            if page["isLast"]:
                break
        assert found == [f"Person {n}" for n in range(2, 9)], found
        assert assets.get_object_aql_total_count(query) == {"totalCount": 7}
        assert "attributes" not in assets.aql(query, include_attributes=False)["values"][0]
        refused(lambda: assets.aql('"Shoe Size" = 42'), 400, "query is invalid")
        wrong = stand_in.session()
        sign_in = {"url": SITE, "username": "importer@contoso.com", "password": "other", "cloud": True}
        refused(lambda: AssetsCloud(session=wrong, **sign_in), 401)
    finally:
        stand_in.stop()


def data_center(program):
    stand_in = StandIn(program, "data-center")
    try:
        assets = AssetsServer(url="https://jira.contoso.com", token="token", session=stand_in.session())
        schemas = assets.list_object_schema()["objectschemas"]
        assert isinstance(schemas[0]["id"], int), schemas
        user, group, ids, of_group = build(assets, schemas[0])
        assert isinstance(user["id"], int) and "globalId" not in user, user
        objects(assets, user, group, ids, of_group)
        found, page = [], 1
        while True:
            answer = assets.get_aql_objects('objectType = "User" ORDER BY Key ASC', page=page, result_per_page=3)
            found += [entry["label"] for entry in answer["objectEntries"]]
            if page == answer["pageObjectSize"]:
                break
            page += 1
        assert found == [f"Person {n}" for n in range(2, 9)] and answer["totalFilterCount"] == 7, found
    finally:
        stand_in.stop()


if __name__ == "__main__":
    cloud(sys.argv[1])
    data_center(sys.argv[1])
    print("AssetsCloud and AssetsServer of atlassian-python-api work against the stand-in")
