// Puts Prism between the program and the simulator: whatever is asked or answered must fit the OpenAPI description.
// Usage: node referee.mjs TARGET-FOLDER (with graph-sim and entra-import in it, Prism below referee/node_modules).
// Prints every request that fails with its reason, and ends with 1 when there is one.

import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const target = resolve(process.argv[2] ?? "target/debug");
const work = join(target, "..", "referee");
const here = dirname(fileURLToPath(import.meta.url));
const started = [];
const ROLES = [
  "Directory.Read.All", "Member.Read.Hidden", "AuditLog.Read.All", "Device.Read.All", "Bookings.Read.All",
  "DeviceManagementManagedDevices.Read.All",
].join(",");

process.on("exit", () => started.forEach((child) => child.kill()));

/// A free port on loopback.
function freePort() {
  return new Promise((done) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });
}

/// Starts a program and waits until it prints what matches.
function start(program, args, ready) {
  return new Promise((done, fail) => {
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
    started.push(child);
    child.seen = "";
    const take = (bytes) => {
      child.seen += bytes;
      const found = child.seen.match(ready);
      if (found) done({ child, found });
    };
    child.stdout.on("data", take);
    child.stderr.on("data", take);
    child.on("exit", (code) => fail(new Error(`${program} ended with ${code}\n${child.seen}`)));
  });
}

/// The description, with the version in every path, as the program asks.
function description() {
  const spec = JSON.parse(readFileSync(join(here, "graph-v1.0.openapi.json"), "utf8"));
  spec.servers = [];
  spec.paths = Object.fromEntries(Object.entries(spec.paths).map(([path, item]) => [`/v1.0${path}`, item]));
  const file = join(work, "spec.json");
  writeFileSync(file, JSON.stringify(spec));
  return file;
}

const eventual = { ConsistencyLevel: "eventual" };

/// One request of each shape that the simulator answers, beyond what the program asks for.
function shapes(ids) {
  const { user, group, device, unit, role, booking, managed } = ids;
  return [
    ["/users"], ["/users?$top=7&$select=id,displayName,assignedLicenses,licenseAssignmentStates,onPremisesExtensionAttributes"],
    ["/users?$select=id&$expand=manager($select=id)"], [`/users/${user}`], [`/users/${user}/manager`, {}, [200, 404]],
    ["/users?$select=id,signInActivity&$top=500"], ["/users?$orderby=displayName&$select=id,displayName&$top=30"],
    ["/users?$filter=accountEnabled eq true&$select=id"], ["/users/$count", eventual], ["/users/delta?$select=displayName,manager"],
    ["/users?$search=\"displayName:vance\"&$count=true", eventual],
    [`/users/${user}/memberOf?$select=id,displayName`], [`/users/${user}/transitiveMemberOf`], [`/users/${user}/directReports`],
    [`/users/${user}/licenseDetails`], [`/users/${user}/ownedDevices`], [`/users/${user}/registeredDevices`],
    ["/groups"], ["/groups?$select=id&$expand=members($select=id)"], ["/groups?$select=id&$expand=owners"], [`/groups/${group}`],
    [`/groups/${group}/members?$top=5`], [`/groups/${group}/members/microsoft.graph.user?$count=true`, eventual],
    [`/groups/${group}/transitiveMembers?$select=id`], [`/groups/${group}/owners`], [`/groups/${group}/memberOf`],
    ["/groups/$count", eventual], ["/groups/delta?$select=displayName,members,owners"],
    ["/devices"], ["/devices?$select=id&$expand=registeredOwners($select=id)"], [`/devices/${device}`],
    [`/devices/${device}/registeredOwners`], [`/devices/${device}/registeredUsers`], ["/devices/delta?$select=displayName"],
    ["/directory/administrativeUnits"], ["/directory/administrativeUnits/$count", eventual],
    [`/directory/administrativeUnits/${unit}`], [`/directory/administrativeUnits/${unit}/members?$top=10`],
    ["/directoryRoles"], [`/directoryRoles/${role}/members?$select=id`],
    ["/applications?$filter=displayName eq 'Asset import'&$select=id,appId,passwordCredentials,keyCredentials"], ["/applications"],
    ["/directory/deletedItems/microsoft.graph.user?$select=id,deletedDateTime"], ["/directory/deletedItems/microsoft.graph.group"],
    ["/subscribedSkus"], ["/organization"], ["/solutions/bookingBusinesses"], [`/solutions/bookingBusinesses/${booking}`],
    ["/deviceManagement/managedDevices?$top=20&$select=id,serialNumber"], ["/deviceManagement/managedDevices"],
    [`/deviceManagement/managedDevices/${managed}`],
  ];
}

const failures = [];

/// Asks, follows links to their end, and notes what the referee says against it.
async function ask(proxy, token, path, headers = {}, statuses = [200]) {
  let url = path.startsWith("http") ? path : `${proxy}/v1.0${path}`;
  for (let page = 0; url && page < 400; page += 1) {
    if (!url.startsWith(proxy)) return failures.push(`${path}: a link leads past the referee, to ${url}`);
    const answer = await fetch(url, { headers: { Authorization: `Bearer ${token}`, ...headers } });
    const text = await answer.text();
    if (!statuses.includes(answer.status)) return failures.push(`${path} (page ${page + 1}): HTTP ${answer.status} ${text.slice(0, 600)}`);
    const body = answer.headers.get("content-type")?.includes("json") ? JSON.parse(text) : {};
    url = body["@odata.nextLink"];
  }
}

async function main() {
  mkdirSync(work, { recursive: true });
  const port = await freePort();
  const proxy = `http://127.0.0.1:${port}`;
  const sim = await start(join(target, "graph-sim"), ["--users=1100", "--groups=30", "--memberships=2600", "--devices=60",
    `--public-base=${proxy}`, `--roles=${ROLES}`, "--no-gzip"], /^graph-sim: (http:\S+)$/m);
  const address = sim.found[1];
  const read = (name) => sim.child.seen.match(new RegExp(`${name} += "([^"]+)"`))[1];
  const secret = sim.child.seen.match(/ENTRA_SECRET='([^']+)'/)[1];
  const prism = await start("node", [join(work, "node_modules/@stoplight/prism-cli/dist/index.js"), "proxy", "--errors",
    "-p", String(port), description(), address], /Prism is listening/);

  const form = new URLSearchParams({ grant_type: "client_credentials", client_id: read("client_id"), client_secret: secret,
    scope: "https://graph.microsoft.com/.default" });
  const signedIn = await fetch(`${address}/${read("tenant")}/oauth2/v2.0/token`, { method: "POST", body: form });
  const token = (await signedIn.json()).access_token;
  const first = async (path) => {
    const answer = await fetch(`${address}/v1.0${path}`, { headers: { Authorization: `Bearer ${token}` } });
    return (await answer.json()).value[0].id;
  };
  const ids = {
    user: await first("/users"), group: await first("/groups"), device: await first("/devices"),
    unit: await first("/directory/administrativeUnits"), role: await first("/directoryRoles"),
    booking: await first("/solutions/bookingBusinesses"), managed: await first("/deviceManagement/managedDevices"),
  };
  const all = shapes(ids);
  for (const [path, headers, statuses] of all) await ask(proxy, token, path, headers, statuses);
  console.log(`referee: ${all.length} shapes of requests, ${failures.length} failed`);

  // The program itself, twice: a first read, and one after which there is nothing to do.
  const folder = join(work, "job");
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const mappings = ["users", "groups", "memberships", "nestings", "licenses", "license_assignments", "devices"];
  writeFileSync(join(folder, "job.toml"), `format = "job/1"
name = "referee"
[source]
tenant = "${read("tenant")}"
client_id = "${read("client_id")}"
credential = { secret = { env = "ENTRA_SECRET" } }
authority = "${address}"
graph = "${proxy}"
[target]
kind = "csv"
path = "export"
[state]
dir = "state"
${mappings.map((name) => `[[mapping]]\nuse = "csv/${name}@1"\n`).join("")}`);
  prism.child.seen = "";
  for (const command of ["check", "run", "run"]) {
    try {
      const env = { PATH: process.env.PATH, HOME: folder, ENTRA_SECRET: secret, ENTRA_IMPORT_TIME_FACTOR: "1000" };
      execFileSync(join(target, "entra-import"), [command, "job.toml"], { cwd: folder, env, stdio: ["ignore", "pipe", "pipe"] });
      console.log(`referee: entra-import ${command}: nothing to object`);
    } catch (error) {
      failures.push(`entra-import ${command} ended with ${error.status}\n${error.stdout}${error.stderr}`);
    }
  }
  const objections = prism.child.seen.split("\n").filter((line) => /violation|✖|[Ee]rror/.test(line) && !/error: *$/.test(line));
  failures.push(...objections.map((line) => `entra-import: ${line.trim()}`));
  failures.forEach((failure) => console.error(`referee: ${failure}`));
  process.exit(failures.length === 0 ? 0 : 1);
}

main().catch((error) => {
  console.error(`referee: ${error.message}`);
  process.exit(1);
});
