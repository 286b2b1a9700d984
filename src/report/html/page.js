// The report's page: reads the data element, builds the page, filters. Every text goes in through textContent or
// createTextNode; there is no innerHTML here, and the page's policy runs no other script.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const header = data.header;

  // ---- Words -------------------------------------------------------------------------------------------------
  const ACTIONS = {
    create: ["+", "Create", "created"], adopt: ["&", "Adopt", "adopted"], update: ["~", "Update", "updated"],
    retire: ["!", "Retire", "retired"], return: ["^", "Return", "returned"], delete: ["−", "Delete", "deleted"],
    forget: ["×", "Forget", "forgotten"], settle: ["=", "Settle", "settled"],
  };
  const NOTES = {
    "collision": "Collision", "returner": "Returner", "rejected": "Could not be mapped",
    "refused": "Refused before",
    "filter-edit": "Left by an edit", "protected": "Protected", "deleted-in-target": "Deleted in the target",
    "kept": "Left and kept", "still-holds": "Left, and still holds assets", "changed-in-target": "Changed in the target", "conflict": "Changed on both sides",
    "differs-since-adoption": "Differs since adoption", "not-undone": "Not taken back", "reference-left-out": "Reference left out",
    "not-found": "Name not found", "shortened": "Cut", "stranger": "Not ours",
  };
  const URGENT_NOTES = ["collision", "returner", "rejected"];
  const CHUNK = 60;          // Records put into the page at a time.
  const PRINTED = 2000;      // Records that a print holds at most.
  const LONG = 300;          // Characters of a value before it is folded.
  const FEW = 8;             // Elements of a set that did not change, shown before they are folded.

  const number = (n) => n.toLocaleString("en-US");
  const plural = (n, one, many) => `${number(n)} ${n === 1 ? one : many}`;
  const time = (text) => text ? text.replace("T", " ").replace(/(\.\d+)?Z$/, " UTC") : "";
  const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
  // The table of report/visible.rs: what steers a terminal or the direction of text is shown as an escape.
  const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]/gu;
  const SHORT = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };
  const visible = (text) => String(text).replace(HIDDEN, (c) => SHORT[c] ?? `\\u{${c.codePointAt(0).toString(16)}}`);

  // ---- Elements ----------------------------------------------------------------------------------------------
  function el(tag, className, ...children) {
    const node = document.createElement(tag);
    if (className) node.className = className;
    for (const child of children.flat()) {
      if (child === null || child === undefined || child === false) continue;
      node.append(child instanceof Node ? child : visible(child));
    }
    return node;
  }
  const text = (tag, className, words) => el(tag, className, words);
  function button(className, label, act) {
    const node = el("button", className, label);
    node.type = "button";
    node.addEventListener("click", act);
    return node;
  }
  function svg(tag, attributes, ...children) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  }
  /** A bar of parts side by side: [[class, amount, title]], of a whole. */
  function bar(parts, whole, label) {
    const node = svg("svg", { class: "bar", viewBox: "0 0 1000 10", preserveAspectRatio: "none", role: "img", "aria-label": label });
    let at = 0;
    for (const [name, amount, title] of parts.filter((part) => part[1] > 0)) {
      // What is there at all can be seen.
      const width = Math.max(whole ? (amount / whole) * 1000 : 0, 4);
      const words = svg("title", {});
      words.textContent = visible(title);
      node.append(svg("rect", { class: `fill-${name}`, x: at, y: 0, width: Math.min(width, 1000 - at), height: 10 }, words));
      at = Math.min(at + width, 1000);
    }
    return node;
  }

  // ---- Records -----------------------------------------------------------------------------------------------
  const causes = data.causes.map((cause) => cause.split("\n")).map(([kind, ...words]) => ({ kind, words: words.join(" ") }));
  const types = header.types.map((type) => type.spec.name);

  function plain(value) {
    if (value === null || value === undefined) return "";
    if (typeof value === "string") return value;
    if (Array.isArray(value)) return value.join(" ");
    if (value.unknown !== undefined) return `unknown ${value.unknown}`;
    return [...(value.items ?? []), ...(value.maybe ?? [])].join(" ");
  }
  function changeRecord([action, type, key, label, cause, attributes, outcome], index) {
    const words = [label, key, ...attributes.map(([name, values, why]) =>
      `${data.attributes[name]} ${values ? `${plain(values[0])} ${plain(values[1])}` : ""} ${why ?? ""}`)];
    if (cause !== null) words.push(causes[cause].words);
    if (outcome) words.push(outcome[1]);
    return {
      index, kind: action, type: types[type], key, label, cause, attributes,
      outcome: outcome ? outcome[0] : "done", reason: outcome ? outcome[1] : null,
      names: attributes.map((attribute) => data.attributes[attribute[0]]),
      causes: [...(cause === null ? [] : [cause]), ...attributes.map((a) => a[2]).filter(Boolean)],
      hay: words.join("\u0001").toLowerCase(),
    };
  }
  function noteRecord([kind, type, key, label, words, difference], index) {
    const [name, values] = difference ?? [];
    return {
      index, kind, type, key, label, words, difference, names: name === undefined ? [] : [name], causes: [], outcome: "done",
      hay: [label, key, words, name ?? "", ...(values ?? []).map(plain)].join("\u0001").toLowerCase(),
    };
  }
  const lists = { changes: data.changes.map(changeRecord), notes: data.notes.map(noteRecord) };
  data.changes = data.notes = null;

  // ---- State: what is filtered, also in the address, so that a view can be kept and sent -----------------------
  const state = { list: "changes", q: "", kinds: new Set(), type: "", cause: "", attribute: "", outcome: "" };
  function fromAddress() {
    const from = new URLSearchParams(location.hash.slice(1));
    state.list = from.get("list") === "notes" ? "notes" : "changes";
    state.q = from.get("q") ?? "";
    state.kinds = new Set((from.get("is") ?? "").split(",").filter(Boolean));
    for (const name of ["type", "cause", "attribute", "outcome"]) state[name] = from.get(name) ?? "";
  }
  function toAddress() {
    const to = new URLSearchParams();
    if (state.list !== "changes") to.set("list", state.list);
    if (state.q) to.set("q", state.q);
    if (state.kinds.size) to.set("is", [...state.kinds].join(","));
    for (const name of ["type", "cause", "attribute", "outcome"]) if (state[name]) to.set(name, state[name]);
    const hash = to.toString();
    if (hash !== location.hash.slice(1)) history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
  }

  // ---- Above the records -------------------------------------------------------------------------------------
  const all = (action) => header.types.reduce((sum, type) => sum + (type.counts.changes[action] ?? 0), 0);
  const told = Object.keys(ACTIONS).filter((action) => action !== "settle");
  const held = header.limits.filter((limit) => limit.held);
  const waits = header.limits.filter((limit) => !limit.held && limit.limit === "filter-edit" && limit.approved < limit.count);
  const gap = (source) => (source.coverage ?? "complete") !== "complete" ? source.reason ?? "" : null;
  const gaps = header.sources.filter((source) => gap(source) !== null && !source.accepted);
  const badTypes = header.types.filter((type) => gap(type) !== null);
  const undone = data.outcome ? data.outcome.totals : { rejected: 0, uncertain: 0, not_attempted: 0 };

  function verdict() {
    if (header.preview) return ["warn", "Preview"];
    if (held.length) return ["bad", "Held"];
    if (waits.length) return ["warn", "Waits for approval"];
    if (gaps.length || badTypes.length || lists.notes.some((note) => URGENT_NOTES.includes(note.kind))) return ["warn", "Partial"];
    if (undone.rejected + undone.uncertain + undone.not_attempted) return ["warn", "Partial"];
    if (data.outcome) return ["good", "Applied"];
    return told.some(all) ? ["good", "Ready"] : ["good", "Nothing to do"];
  }

  function top() {
    const [tone, word] = verdict();
    const facts = el("dl", "facts");
    const fact = (name, value) => value && facts.append(el("div", "", text("dt", "", name), text("dd", "", value)));
    fact("From", header.tenant);
    fact("To", header.target);
    fact("Entra ID as read", time(header.source_as_of));
    if (data.outcome) {
      fact("Applied in", `${number(Math.round(data.outcome.took_ms / 1000))} s, ${plural(data.outcome.requests, "request", "requests")}`);
      fact("Run", data.outcome.run);
    }
    fact("Cost", data.cost);
    return el("header", "top",
      el("p", "kicker", data.outcome ? "Outcome" : "Plan", " ", text("code", "", header.id)),
      el("div", "title", text("h1", "", header.job), text("span", `verdict ${tone}`, word)),
      facts);
  }

  function card(tone, title, ...children) {
    return el("article", `card ${tone}`, text("h3", "", title), ...children);
  }
  function only(words, change) {
    return button("link", words, () => { Object.assign(state, { q: "", kinds: new Set(), type: "", cause: "", attribute: "", outcome: "" }, change); update(true); });
  }
  function sentences(items) {
    return el("ul", "", items.map((item) => el("li", "", item)));
  }
  function approval() {
    if (!data.approve) return null;
    const command = text("code", "", data.approve);
    const copy = button("copy", "Copy", async () => {
      try {
        await navigator.clipboard.writeText(visible(data.approve));
        copy.textContent = "Copied";
      } catch {
        // Not allowed from a file: then it is selected, one key away from being copied.
        getSelection().selectAllChildren(command);
        copy.textContent = "Selected";
      }
    });
    return el("div", "command", el("pre", "", command), copy);
  }

  function attention() {
    const cards = [];
    if (header.preview) cards.push(card("bad", "A preview: it cannot be applied", el("p", "", capital(header.preview), ".")));
    if (held.length) {
      const limits = held.map((limit) => [text("strong", "", `${limit.limit} on ${limit.on}: `), limit.words,
        ` (${number(limit.count)} counted, ${number(limit.allowed)} allowed, of ${number(limit.base)})`]);
      cards.push(card("bad", "Held: nothing is written until this is approved", el("ul", "", limits.map((limit) => el("li", "", ...limit))),
        data.approve && el("p", "", "To let exactly these records pass on the next run:"), approval()));
    } else if (waits.length) {
      cards.push(card("warn", "These records wait, the rest goes through", sentences(waits.map((limit) => `${limit.words}.`)), approval()));
    }
    if (gaps.length) {
      cards.push(card("warn", "Not read completely", sentences(gaps.map((source) => `${source.collection}: ${gap(source)}`)),
        el("p", "quiet", "What was not read is not known, and nothing is removed because of it.")));
    }
    if (badTypes.length) cards.push(card("warn", "The target was not read completely", sentences(badTypes.map((type) => `${type.spec.name}: ${gap(type)}`))));
    for (const [field, outcome, words] of [["rejected", "rejected", "The target refused these; the others were written."],
      ["uncertain", "uncertain", "Sent, and the answer is not known. The next run looks first."],
      ["not_attempted", "not attempted", "Not sent. The next run plans them anew."]]) {
      if (undone[field]) cards.push(card("warn", `${number(undone[field])} ${outcome}`, el("p", "", words, " ", only("Show them", { list: "changes", outcome }))));
    }
    const leftOut = URGENT_NOTES.map((kind) => [kind, lists.notes.filter((note) => note.kind === kind).length]).filter(([, count]) => count);
    if (leftOut.length) {
      cards.push(card("warn", "Left out", el("ul", "", leftOut.map(([kind, count]) =>
        el("li", "", only(`${NOTES[kind]}: ${number(count)}`, { list: "notes", kinds: new Set([kind]) }))))));
    }
    const edits = lists.notes.filter((note) => ["changed-in-target", "conflict"].includes(note.kind)).length;
    if (edits) {
      cards.push(card("info", `${plural(edits, "change", "changes")} made in the target left alone`,
        el("p", "", only("Show them", { list: "notes", kinds: new Set(["changed-in-target", "conflict"]) }))));
    }
    if (header.first_run) cards.push(card("info", "The first run of this job", el("p", "", "Nothing in the target is known to be its own yet.")));
    if (!cards.length) return null;
    return el("section", "attention", text("h2", "", "Look at this first"), el("div", "cards", cards));
  }

  function overview() {
    const most = Math.max(1, ...header.types.map((type) => told.reduce((sum, action) => sum + (type.counts.changes[action] ?? 0), 0)));
    const total = told.reduce((sum, action) => sum + all(action), 0);
    const tiles = told.filter(all).map((action) => {
      const tile = button(`tile ${action}`, [text("span", "count", number(all(action))),
        el("span", "what", text("span", "sign", ACTIONS[action][0]), ` to ${action}`)], () => {
        Object.assign(state, { list: "changes", kinds: new Set([action]) });
        update(true);
      });
      return tile;
    });
    const rows = header.types.map((type) => {
      const counts = type.counts;
      const parts = told.map((action) => [action, counts.changes[action] ?? 0, `${number(counts.changes[action] ?? 0)} to ${action}`]);
      const some = parts.filter((part) => part[1]);
      const unknown = Object.values(counts.unknown).reduce((sum, n) => sum + n, 0);
      const facts = [[type.there, "there"], [type.owned, "owned"], [counts.unchanged, "unchanged"], [counts.not_ours, "not ours"],
        [counts.declined, "declined"], [unknown, "left alone, not known"], [counts.elements_removed, "taken out of sets"]];
      const words = some.map((part) => part[2]).join(", ") || "no changes";
      return el("tr", "",
        el("th", "", button("link", type.spec.name, () => { Object.assign(state, { list: "changes", type: type.spec.name }); update(true); })),
        el("td", "chart", bar(parts, most, `${type.spec.name}: ${words}`)),
        el("td", "counts", some.length ? some.map(([action, n]) => text("span", `small ${action}`, `${ACTIONS[action][0]}${number(n)}`)) : text("span", "quiet", "no changes")),
        el("td", "quiet", facts.filter((fact) => fact[0]).map((fact) => `${number(fact[0])} ${fact[1]}`).join(", ")));
    });
    rows.forEach((row) => row.firstChild.setAttribute("scope", "row"));
    return el("section", "overview", text("h2", "", data.outcome ? "What was to be done" : "What would be done"),
      total ? el("div", "tiles", tiles) : el("p", "quiet", "The target holds what Entra ID says, as far as it was read."),
      el("div", "scroll", el("table", "types", text("caption", "sr", "Changes by type"), el("tbody", "", rows))));
  }

  function coverage() {
    const rows = header.sources.map((source) => {
      const missing = gap(source);
      const state = missing === null ? text("span", "ok", "complete") : el("span", source.accepted ? "" : "warned", "partial",
        source.accepted ? ", accepted" : "", el("span", "reason", missing));
      const out = Object.entries(source.left_out).map(([clause, n]) => el("li", "", `${number(n)} by `, text("code", "", clause)));
      const row = el("tr", "", text("th", "", source.collection), el("td", "num", number(source.read)), el("td", "num", number(source.in_scope)),
        el("td", "chart", bar([["scope", source.in_scope, `${number(source.in_scope)} in scope`]], Math.max(source.read, 1), `${number(source.in_scope)} of ${number(source.read)} in scope`)),
        el("td", "", state), el("td", "", out.length ? el("ul", "clauses", out) : text("span", "quiet", "–")));
      row.firstChild.setAttribute("scope", "row");
      return row;
    });
    const heads = el("tr", "", ["Collection", "Read", "In scope", "", "Coverage", "Left out"].map((name) => text("th", "", name)));
    const limits = header.limits.map((limit) => `${limit.held ? "held" : limit.approved ? "approved" : "passed"}: ${limit.limit} on ${limit.on}: ${limit.words}`);
    const fold = el("details", "", text("summary", "", "What was read, and what the scope left out"),
      el("div", "scroll", el("table", "sources", el("thead", "", heads), el("tbody", "", rows))),
      limits.length ? [text("h3", "", "Limits"), sentences(limits)] : null);
    fold.open = gaps.length > 0;
    return el("section", "coverage", text("h2", "sr", "Coverage"), fold);
  }

  // ---- Filters -----------------------------------------------------------------------------------------------
  const controls = {};
  function chooser(name, label) {
    const select = el("select", "");
    select.id = `by-${name}`;
    select.addEventListener("change", () => { state[name] = select.value; update(); });
    controls[name] = select;
    const words = text("label", "", label);
    words.htmlFor = select.id;
    return el("div", "field", words, select);
  }
  function filters() {
    const search = el("input", "");
    search.type = "search";
    search.id = "search";
    search.placeholder = "Name, id, value, cause …  ( / )";
    search.autocomplete = "off";
    search.spellcheck = false;
    let waiting = 0;
    search.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => { state.q = search.value; update(); }, lists.changes.length > 5000 ? 120 : 0);
    });
    controls.q = search;
    const label = text("label", "sr", "Search");
    label.htmlFor = "search";
    controls.tabs = el("div", "tabs");
    controls.tabs.setAttribute("role", "group");
    controls.tabs.setAttribute("aria-label", "List");
    controls.kinds = el("div", "chips");
    controls.kinds.setAttribute("role", "group");
    controls.kinds.setAttribute("aria-label", "Only these");
    controls.found = el("p", "found");
    controls.found.setAttribute("role", "status");
    controls.clear = button("link", "Clear all filters", () => {
      Object.assign(state, { q: "", kinds: new Set(), type: "", cause: "", attribute: "", outcome: "" });
      update();
    });
    return el("div", "filters", controls.tabs,
      el("div", "row", el("div", "field search", label, search), chooser("type", "Type"), chooser("attribute", "Attribute"),
        chooser("cause", "Cause"), data.outcome ? chooser("outcome", "Outcome") : null),
      controls.kinds, el("div", "row status", controls.found, controls.clear));
  }

  /** The records that pass, and for each filter how many would pass if only it were changed. */
  function filtered() {
    const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
    const cause = state.cause === "" ? null : /^\d+$/.test(state.cause) ? Number(state.cause) : state.cause;
    const counts = { kinds: new Map(), type: new Map(), attribute: new Map(), cause: new Map(), outcome: new Map() };
    const add = (map, key) => map.set(key, (map.get(key) ?? 0) + 1);
    const found = [];
    for (const record of lists[state.list]) {
      if (!words.every((word) => record.hay.includes(word))) continue;
      const fails = [];
      if (state.kinds.size && !state.kinds.has(record.kind)) fails.push("kinds");
      if (state.type && record.type !== state.type) fails.push("type");
      if (state.attribute && !record.names.includes(state.attribute)) fails.push("attribute");
      if (cause !== null && !record.causes.includes(cause) && !(typeof cause === "string" && record.cause !== null && record.cause !== undefined && causes[record.cause].kind === cause)) fails.push("cause");
      if (state.outcome && record.outcome !== state.outcome) fails.push("outcome");
      if (fails.length > 1) continue;
      const counted = (name) => !fails.length || fails[0] === name;
      if (counted("kinds")) add(counts.kinds, record.kind);
      if (counted("type")) add(counts.type, record.type);
      if (counted("attribute")) new Set(record.names).forEach((name) => add(counts.attribute, name));
      if (counted("cause")) new Set(record.causes).forEach((of) => add(counts.cause, of));
      if (counted("outcome")) add(counts.outcome, record.outcome);
      if (!fails.length) found.push(record);
    }
    return [found, counts];
  }

  function option(value, label, chosen) {
    const node = text("option", "", label);
    node.value = value;
    node.selected = value === chosen;
    return node;
  }
  function fill(name, entries, any) {
    const select = controls[name];
    if (!select) return;
    const chosen = state[name];
    const options = [option("", any, chosen), ...entries.map(([value, n]) => option(value, `${value} (${number(n)})`, chosen))];
    if (chosen && !entries.some(([value]) => value === chosen)) options.push(option(chosen, `${chosen} (0)`, chosen));
    select.replaceChildren(...options);
  }
  const byName = (map) => [...map].sort((a, b) => String(a[0]).localeCompare(String(b[0])));
  function fillCauses(counts) {
    const select = controls.cause;
    const groups = new Map();
    for (const [cause, n] of counts) {
      const kind = typeof cause === "number" ? causes[cause].kind : "of one attribute";
      const group = groups.get(kind) ?? groups.set(kind, { n: 0, items: [] }).get(kind);
      group.n += n;
      group.items.push([String(cause), typeof cause === "number" ? causes[cause].words : cause, n]);
    }
    const options = [option("", "Any cause", state.cause)];
    let chosen = state.cause === "";
    for (const [kind, { n, items }] of [...groups].sort((a, b) => b[1].n - a[1].n)) {
      if (kind !== "of one attribute") options.push(option(kind, `${capital(kind)} (${number(n)})`, state.cause));
      items.sort((a, b) => b[2] - a[2]);
      // A deletion's cause may name its day: the most frequent say enough, the search finds the others.
      const group = el("optgroup", "", items.slice(0, 50).map(([value, words, count]) => option(value, `${words} (${number(count)})`, state.cause)));
      group.label = capital(kind);
      options.push(group);
      chosen ||= state.cause === kind || items.some((item) => item[0] === state.cause);
    }
    if (!chosen) options.push(option(state.cause, "The chosen cause (0)", state.cause));
    select.replaceChildren(...options);
    select.disabled = options.length === 1;
  }

  function fillControls(found, counts) {
    const list = lists[state.list];
    if (controls.q.value !== state.q) controls.q.value = state.q;
    controls.tabs.replaceChildren(...[["changes", "Changes"], ["notes", "Notes"]].map(([name, label]) => {
      const tab = button("tab", [label, " ", text("span", "n", number(lists[name].length))], () => {
        Object.assign(state, { list: name, kinds: new Set(), cause: "", attribute: "", outcome: "" });
        update();
      });
      tab.setAttribute("aria-pressed", String(state.list === name));
      return tab;
    }));
    const kinds = Object.keys(state.list === "changes" ? ACTIONS : NOTES).filter((kind) => list.some((record) => record.kind === kind));
    controls.kinds.replaceChildren(...kinds.map((kind) => {
      const words = state.list === "changes" ? [text("span", "sign", ACTIONS[kind][0]), ` ${ACTIONS[kind][1]} `] : [`${NOTES[kind]} `];
      const chip = button(`chip ${state.list === "changes" ? kind : "note"}`, [...words, text("span", "n", number(counts.kinds.get(kind) ?? 0))], () => {
        state.kinds.has(kind) ? state.kinds.delete(kind) : state.kinds.add(kind);
        update();
      });
      chip.setAttribute("aria-pressed", String(state.kinds.has(kind)));
      return chip;
    }));
    fill("type", byName(counts.type), "Any type");
    fill("attribute", byName(counts.attribute), "Any attribute");
    fill("outcome", byName(counts.outcome), "Any outcome");
    fillCauses(counts.cause);
    controls.found.textContent = found.length === list.length ? plural(list.length, "record", "records")
      : `${number(found.length)} of ${plural(list.length, "record", "records")}`;
    controls.clear.hidden = !(state.q || state.kinds.size || state.type || state.cause || state.attribute || state.outcome);
  }

  // ---- Records in the page -------------------------------------------------------------------------------------
  function folded(words) {
    const shown = visible(words);
    if (shown.length <= LONG) return document.createTextNode(shown);
    const span = el("span", "");
    const more = button("link", `all ${number(shown.length)} characters`, () => span.replaceChildren(document.createTextNode(shown)));
    span.append(`${shown.slice(0, LONG)}… `, more);
    return span;
  }
  const unknown = (words) => text("span", "unknown", `unknown (${words})`);
  function value(datum) {
    if (datum === null || datum === undefined) return text("span", "empty", "empty");
    if (typeof datum === "string") return folded(datum);
    if (Array.isArray(datum)) return datum.length ? elements(datum.map((item) => ["", item])) : text("span", "empty", "none");
    if (datum.unknown !== undefined) return unknown(datum.unknown);
    const items = [...(datum.items ?? []).map((item) => ["", item]), ...(datum.maybe ?? []).map((item) => ["maybe", item])];
    return el("span", "", elements(items), datum.rest ? [" ", unknown(`perhaps more: ${datum.rest}`)] : null);
  }
  function elements(items) {
    const list = el("ul", "set", items.slice(0, FEW).map(([name, item]) => el("li", name, folded(item))));
    if (items.length > FEW) {
      const rest = el("li", "more", button("link", `and ${number(items.length - FEW)} more`, () =>
        list.replaceChildren(...items.map(([name, item]) => el("li", name, folded(item))))));
      list.append(rest);
    }
    return list;
  }
  const items = (datum) => Array.isArray(datum) ? datum : datum && datum.items ? datum.items : null;
  /** Both sides of a set: what goes, what comes, and how many stay. */
  function sides(before, after) {
    const [old, now] = [items(before) ?? (before === null ? [] : null), items(after) ?? (after === null ? [] : null)];
    if (old === null || now === null || (items(before) === null && items(after) === null)) return [value(before), value(after)];
    const [had, has] = [new Set(old), new Set(now)];
    const stay = old.filter((item) => has.has(item)).length;
    const stays = stay ? text("span", "quiet", plural(stay, "element stays", "elements stay")) : null;
    const side = (list, other, name, doubt) => {
      const changed = list.filter((item) => !other.has(item)).map((item) => [name, item]);
      const doubtful = (doubt && doubt.maybe ? doubt.maybe : []).map((item) => ["maybe", item]);
      const rest = doubt && doubt.rest ? unknown(`perhaps more: ${doubt.rest}`) : null;
      if (!changed.length && !doubtful.length && !rest) return stays ?? text("span", "empty", "none");
      return el("span", "", changed.length || doubtful.length ? elements([...changed, ...doubtful]) : null, rest, stays && stays.cloneNode(true));
    };
    return [side(old, has, "gone", before), side(now, had, "new", after)];
  }
  function attributeRows(record) {
    if (!record.attributes.length) return null;
    if (record.kind === "create") {
      return el("dl", "values", record.attributes.map(([name, values]) => el("div", "", text("dt", "", data.attributes[name]),
        el("dd", "", values ? value(values[1]) : text("span", "unknown", "set (private)")))));
    }
    const rows = record.attributes.map(([name, values, why]) => {
      const [before, after] = values ? sides(values[0], values[1]) : [text("span", "unknown", "private"), text("span", "unknown", "changed (private)")];
      return el("tr", "", text("th", "", data.attributes[name]), el("td", "old", before),
        el("td", "now", after, why ? text("span", "why", why) : null));
    });
    rows.forEach((row) => row.firstChild.setAttribute("scope", "row"));
    const heads = el("tr", "", [el("th", ""), text("th", "", "Before"), text("th", "", "After")]);
    return el("table", "diff", el("thead", "", heads), el("tbody", "", rows));
  }
  function name(record) {
    return [text("h3", "", record.label || record.key), record.label && record.label !== record.key ? text("code", "key", record.key) : null];
  }
  function changeItem(record) {
    const [sign, word, past] = ACTIONS[record.kind];
    const done = data.outcome && record.outcome === "done";
    return el("li", `record ${record.kind}`,
      el("div", "line", el("span", "badge", text("span", "sign", sign), ` ${done ? capital(past) : word}`), text("span", "type", record.type), ...name(record)),
      record.reason !== null ? el("p", "undone", text("strong", "", capital(record.outcome)), `: ${record.reason}`) : null,
      record.cause !== null ? el("p", "cause", text("span", "quiet", `${capital(causes[record.cause].kind)}: `), causes[record.cause].words) : null,
      attributeRows(record));
  }
  function noteItem(record) {
    const [name_, values] = record.difference ?? [];
    const sides = values && el("table", "diff three",
      el("thead", "", el("tr", "", el("th", ""), ["In Entra ID", "In the target", "Written last"].map((head) => text("th", "", head)))),
      el("tbody", "", el("tr", "", text("th", "", name_), el("td", "", value(values[0])), el("td", "", value(values[1])),
        el("td", "", values[2] === null ? text("span", "empty", "not known") : value(values[2])))));
    return el("li", `record note ${URGENT_NOTES.includes(record.kind) ? "urgent" : ""}`,
      el("div", "line", text("span", "badge", NOTES[record.kind] ?? record.kind), text("span", "type", record.type), ...name(record)),
      text("p", "words", record.words),
      record.difference && !values ? el("p", "words", text("strong", "", name_), ": changed (private)") : sides);
  }

  const list = el("ol", "records");
  const sentinel = el("div", "sentinel");
  let found = [];
  let shown = 0;
  function more(count) {
    const part = document.createDocumentFragment();
    const item = state.list === "changes" ? changeItem : noteItem;
    for (const record of found.slice(shown, shown + count)) part.append(item(record));
    shown = Math.min(shown + count, found.length);
    list.append(part);
    sentinel.replaceChildren(...(shown < found.length
      ? [button("link", `Show more (${number(found.length - shown)} to come)`, () => more(CHUNK * 5))] : []));
  }
  function update(scroll) {
    const [records, counts] = filtered();
    found = records;
    shown = 0;
    fillControls(found, counts);
    list.replaceChildren();
    if (!found.length) {
      const nothing = lists[state.list].length ? "No record passes these filters." : state.list === "changes" ? "No changes." : "No notes.";
      list.append(text("li", "none", nothing));
    }
    more(CHUNK);
    toAddress();
    if (scroll) document.getElementById("records").scrollIntoView({ block: "start" });
  }

  // ---- The page ------------------------------------------------------------------------------------------------
  function build() {
    document.title = visible(`${header.job}: ${data.outcome ? "outcome of" : "plan"} ${header.id}`);
    const skip = text("a", "skip", "Skip to the records");
    skip.href = "#records";
    skip.addEventListener("click", (event) => { event.preventDefault(); controls.q.focus(); });
    const records = el("section", "browse", text("h2", "", "Every record"), filters(), list, sentinel);
    records.id = "records";
    document.body.append(skip, el("main", "", top(), attention(), overview(), coverage(), records),
      el("footer", "", el("p", "", data.summary), el("p", "quiet", `Written by ${data.program}. This file loads and sends nothing.`)));
    new IntersectionObserver((entries) => { if (entries.some((entry) => entry.isIntersecting) && shown < found.length) more(CHUNK); },
      { rootMargin: "1500px" }).observe(sentinel);
    addEventListener("hashchange", () => { fromAddress(); update(); });
    addEventListener("keydown", (event) => {
      if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && !event.ctrlKey && !event.metaKey && !event.altKey) {
        event.preventDefault();
        controls.q.focus();
        controls.q.select();
      }
      if (event.key === "Escape" && event.target === controls.q && state.q) { state.q = ""; update(); }
    });
    addEventListener("beforeprint", () => more(Math.max(0, Math.min(PRINTED, found.length) - shown)));
    fromAddress();
    update();
    document.documentElement.dataset.ready = "yes";
  }
  build();
})();
