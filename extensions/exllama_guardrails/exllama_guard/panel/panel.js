() => {
  // One messenger a page: it says what the page has, and puts what comes back into its places.
  // All markup comes from the server, which escapes it; this script never makes markup from text.
  if (window.egGuard) { window.egGuard.wake(); return; }
  const IDLE_MS = 5000, AWAKE_MS = 900, LIVE_MS = 350, LOST_MS = 15000, HOVER_MS = 140, SPOT = "#chat-col",
    CHAT_INPUTS = "#chat-input textarea, #question textarea, #question input", SEND_BUTTONS = "#Generate, #send",
    AWAKE_FOR_MS = 25000, MOST_BYTES = 8000000;
  const state = {
    v: -1, tab: remembered("tab", "turn"), open: remembered("open", "") === "1", turn: "", claim: "",
    filter: { chat: "", verdict: "", model: "", page: 0 }, same: false, live: false, busy: false, on: true,
    view: 0, askedView: 0, asked: 0, failures: 0, awakeUntil: 0, next: 0, action: null, settled: "",
    dressed: null, line: null,
  };

  function remembered(key, otherwise) {
    try { return sessionStorage.getItem("eg-" + key) || otherwise; } catch { return otherwise; }
  }
  function remember(key, value) {
    try { sessionStorage.setItem("eg-" + key, value); } catch { /* storage is closed to this page */ }
  }
  const root = () => document.getElementById("eg-root");
  const all = (selector, from) => Array.from((from || root()).querySelectorAll(selector));
  const places = (name) => all("[data-slot]", document).filter((el) => el.dataset.slot === name && ours(el));
  const ours = (el) => el.closest && el.closest("#eg-root, #eg-line");
  const panel = () => root().querySelector('[data-panel="' + state.tab + '"]');

  // --- asking ------------------------------------------------------------------------------------------
  function have() {
    const known = {};
    const scopes = [root().querySelector('[data-slot="glance"]'), root().querySelector('[data-slot="problems"]')];
    if (state.open) scopes.push(...all("[data-slot]", panel()));
    scopes.forEach((el) => { if (el.dataset.h) known[el.dataset.slot] = el.dataset.h; });
    return known;
  }

  function haveLists() {
    const known = {};
    if (state.open) {
      all("[data-list]", panel()).forEach((list) => {
        known[list.dataset.list] = Array.from(list.children).map((el) => el.dataset.k + "=" + el.dataset.h).join(" ");
      });
    }
    return known;
  }

  function message() {
    const asked = {
      v: state.v, tab: state.open ? state.tab : "", turn: state.turn, claim: state.claim, filter: state.filter,
    };
    if (state.action) { asked.do = state.action; state.action = null; }
    else if (state.same) asked.same = true;
    state.askedView = state.view;
    asked.have = have();
    asked.lists = haveLists();
    return JSON.stringify(asked);
  }

  function ask() {
    const button = document.querySelector("#eg-ask");
    if (!button || !root()) return;
    state.asked = Date.now();
    button.click();
  }

  function act(name, values) {
    const button = document.querySelector("#eg-act");
    if (!button) return;
    state.action = { name: name, values: values || {} };
    button.click();
  }

  function changedView() { state.view += 1; state.same = false; state.next = 0; beat(); }

  function beat() {
    const now = Date.now();
    if (!root() || document.hidden) return;
    dress();
    if (state.asked) {
      if (now - state.asked < LOST_MS) return;
      state.asked = 0;
      state.failures += 1;
    }
    if (now < state.next) return;
    const pause = state.live ? LIVE_MS : state.busy || now < state.awakeUntil ? AWAKE_MS : IDLE_MS;
    state.next = now + Math.min(pause * 2 ** state.failures, 60000);
    ask();
  }

  function wake() { state.awakeUntil = Date.now() + AWAKE_FOR_MS; state.next = Math.min(state.next, Date.now() + 200); }

  // --- taking ------------------------------------------------------------------------------------------
  function take(text) {
    state.asked = 0;
    state.failures = 0;
    apply(text);
    return [];
  }

  function taken(text) {
    apply(text);
    return [];
  }

  function apply(text) {
    if (!text || !root()) return;
    const packet = JSON.parse(text);
    (packet.l || []).forEach(([name, same, keys, items]) => fillList(name, same, keys, items));
    (packet.s || []).forEach(([name, print, html]) => places(name).forEach((el) => fill(el, print, html)));
    Object.assign(state, { v: packet.more ? -1 : packet.v, same: state.askedView === state.view, live: packet.live, busy: Boolean(packet.busy), on: packet.on });
    if (packet.settled !== undefined && packet.settled !== state.settled) {
      if (state.settled) say(packet.settled.slice(packet.settled.indexOf("|") + 1), true);
      state.settled = packet.settled;
    }
    if (packet.say) say(packet.say);
    if (packet.file) save(packet.file);
    if (packet.copy) copy(packet.copy);
    if (packet.claim !== undefined) mark(packet.claim);
    if (packet.checked !== undefined) all('[data-when="checked"]').forEach((el) => { el.hidden = !packet.checked; });
    if (packet.shown !== undefined) panel().classList.toggle("eg-nothing", !packet.shown);
    if (packet.refused !== undefined) panel().classList.toggle("eg-refused", packet.refused);
    dress(true);
  }

  function fill(el, print, html) {
    el.dataset.h = print;
    if (el.querySelector("form[data-dirty]")) return; // somebody is typing in it
    const focused = el.contains(document.activeElement) ? describe(document.activeElement) : "";
    el.innerHTML = html;
    if (focused) { const again = el.querySelector(focused); if (again) again.focus({ preventScroll: true }); }
  }

  function describe(el) {
    const names = ["data-act", "data-turn", "data-claim", "data-filter", "data-kind", "name"];
    const parts = names.filter((n) => el.hasAttribute(n)).map((n) => "[" + n + '="' + CSS.escape(el.getAttribute(n)) + '"]');
    return parts.join("");
  }

  function fillList(name, same, rest, items) {
    const fresh = new Map(items.map(([key, print, html]) => [key, [print, html]]));
    all("[data-list]").filter((el) => el.dataset.list === name).forEach((list) => {
      const old = new Map(Array.from(list.children).map((el) => [el.dataset.k, el]));
      const keys = Array.from(old.keys()).slice(0, same).concat(rest);
      keys.forEach((key, place) => {
        let el = old.get(key);
        if (!el) { el = document.createElement(list.classList.contains("eg-answer") ? "span" : "div"); el.dataset.k = key; }
        if (fresh.has(key)) fill(el, fresh.get(key)[0], fresh.get(key)[1]);
        if (list.children[place] !== el) list.insertBefore(el, list.children[place] || null);
        old.delete(key);
      });
      old.forEach((el) => el.remove());
    });
  }

  function mark(claim) {
    all("[data-claim]", panel()).forEach((el) => el.setAttribute("aria-pressed", String(el.dataset.claim === claim)));
  }

  function say(text, quiet) {
    const el = root().querySelector("[data-said]");
    el.textContent = text;
    el.classList.toggle("eg-vh", Boolean(quiet));
    const toast = el.parentElement; // the top layer: in the window wherever the panel is scrolled to
    if (!quiet && toast.showPopover && !toast.matches(":popover-open")) toast.showPopover();
    clearTimeout(state.saying);
    state.saying = setTimeout(() => { el.textContent = ""; }, quiet ? 2000 : 7000);
  }

  function save(file) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([file.text], { type: file.type + ";charset=utf-8" }));
    link.download = file.name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  // A page that came over plain http has no clipboard object; the older way works there.
  function copy(text, into) {
    const done = () => say("Copied. Paste it into " + (into || "any chat") + ".");
    const older = () => {
      const box = document.createElement("textarea");
      box.value = text;
      box.style.position = "fixed";
      document.body.append(box);
      box.select();
      const worked = document.execCommand("copy");
      box.remove();
      if (worked) done(); else say("The browser does not let this page copy; select the text and copy it by hand.");
    };
    if (navigator.clipboard && window.isSecureContext) navigator.clipboard.writeText(text).then(done, older);
    else older();
  }

  // Into the host's own input, as if it had been typed; the reply then comes as any other does.
  function send(text) {
    const box = document.querySelector(CHAT_INPUTS);
    if (!box) { say("There is no chat on this page; use Copy."); return; }
    Object.getOwnPropertyDescriptor(Object.getPrototypeOf(box), "value").set.call(box, text);
    box.dispatchEvent(new Event("input", { bubbles: true }));
    wake();
    setTimeout(() => {
      const button = document.querySelector(SEND_BUTTONS);
      if (!button || button.offsetParent === null) { say("It is in the chat’s input; send it when the chat is free."); return; }
      button.click();
      say("Sent into the chat.");
    }, 200);
  }

  const promptText = () => panel().querySelector("[data-prompt]").textContent;

  // --- the frame ---------------------------------------------------------------------------------------
  function dress(force) {
    const here = root();
    seat();
    if (here === state.dressed && !force) return;
    if (here !== state.dressed) state.same = false;
    state.dressed = here;
    here.querySelector("#eg-body").hidden = !state.open;
    here.querySelector('[data-act="fold"]').setAttribute("aria-expanded", String(state.open));
    here.querySelector('[data-act="switch"]').setAttribute("aria-checked", String(state.on));
    all('[role="tab"]').forEach((tab) => {
      const chosen = tab.dataset.tab === state.tab;
      tab.setAttribute("aria-selected", String(chosen));
      tab.tabIndex = chosen ? 0 : -1;
    });
    all("[data-panel]").forEach((el) => { el.hidden = el.dataset.panel !== state.tab; });
  }

  // The WebUI draws its extensions below a chat that fills the window. There the one line sits under the
  // chat's input, in room of its own: nothing covers the chat, and nothing moves when the verdict changes.
  function seat() {
    const spot = document.querySelector(SPOT);
    const fresh = root().querySelector("#eg-line");
    if (fresh && spot) {
      all("#eg-line", document).forEach((el) => { if (el !== fresh) el.remove(); });
      spot.append(fresh);
      spot.classList.add("eg-seat");
      fresh.hidden = false;
      state.line = fresh;
    } else if (spot && state.line && !state.line.isConnected) {
      spot.append(state.line);
      spot.classList.add("eg-seat");
    }
    all('[data-act="chat"]').forEach((el) => { el.hidden = !(state.line && state.line.isConnected); });
  }

  function show(tab) {
    state.tab = tab;
    state.open = true;
    remember("tab", tab);
    remember("open", "1");
    root().querySelector("[data-said]").textContent = "";
    dress(true);
    changedView();
  }

  function point(el, scroll) {
    if (state.claim === el.dataset.claim && !scroll) return;
    state.claim = el.dataset.claim;
    mark(state.claim);
    changedView();
    const beside = panel().querySelector(".eg-evidence");
    if (scroll && beside) beside.scrollIntoView({ block: "nearest", behavior: "smooth" });
  }

  const doing = {
    peek: () => {
      // Without the WebUI's "Show controls" its box of extensions is not drawn, and the panel is in it.
      const box = root().closest("#extensions");
      if (box && getComputedStyle(box).display === "none") box.style.display = "inherit";
      if (!state.open) doing.fold();
      root().scrollIntoView({ block: "start", behavior: "smooth" });
      root().querySelector('[role="tab"][aria-selected="true"]').focus({ preventScroll: true });
    },
    chat: () => {
      window.scrollTo({ top: 0, behavior: "smooth" });
      state.line.querySelector("button").focus({ preventScroll: true });
    },
    fold: () => { state.open = !state.open; remember("open", state.open ? "1" : ""); dress(true); changedView(); },
    switch: () => { state.on = !state.on; dress(true); act("switch", { value: state.on }); },
    tab: (el) => show(el.dataset.tab),
    claim: (el) => point(el, true),
    turn: (el) => { state.turn = el.dataset.turn; state.claim = ""; show("turn"); },
    reveal: (el) => el.setAttribute("aria-expanded", String(panel().classList.toggle("eg-reveal"))),
    latest: () => { state.turn = ""; state.claim = ""; changedView(); },
    page: (el) => { if (el.getAttribute("aria-disabled") === "true") return; state.filter.page = Number(el.dataset.page); changedView(); },
    export: (el) => act("export", { kind: el.dataset.kind }),
    "keep-settings": () => act("keep-settings"),
    "reset-settings": (el) => { clean(el); act("reset-settings"); },
    "copy-prompt": () => copy(promptText()),
    "copy-command": (el) => copy(el.parentElement.querySelector("[data-command]").textContent, "a terminal"),
    "send-prompt": () => send(promptText()),
    "measure-missing": () => act("measure-missing", { turn: state.turn }),
    diagnose: (el) => act("diagnose", { turn: el.dataset.turn }),
    "save-report": (el) => act("save-report", { what: el.dataset.what, kind: el.dataset.kind }),
    accept: (el) => act("accept", { chat: el.dataset.chat, tool: el.dataset.tool }),
    "use-limits": (el) => act("apply-settings", { distance_pass: Number(el.dataset.accept), distance_fail: Number(el.dataset.reject) }),
    "cancel-drift": () => act("cancel-drift"),
    "clear-schema": () => act("schema", { answer_schema: "" }),
    "clear-check": (el) => { clean(el); act("clear-check"); },
  };

  ["stop-probe", "stop-doctor", "stop-verify", "stop-replay", "close-report", "cancel-check", "cancel-calibrate"].forEach((name) => { doing[name] = () => act(name); });

  function clean(el) {
    const form = el.closest("form");
    form.reset();
    delete form.dataset.dirty;
  }

  document.addEventListener("input", (event) => {
    const form = event.target.closest && event.target.closest("#eg-root form[data-form]");
    if (form) form.dataset.dirty = "1";
  });

  document.addEventListener("click", (event) => {
    const el = event.target.closest ? event.target.closest("[data-act]") : null;
    if (el && ours(el)) { const run = doing[el.dataset.act]; if (run) run(el); }
    else if (!event.target.closest || !event.target.closest("#eg-ask, #eg-act, #eg-root, #eg-line")) wake();
  });

  document.addEventListener("keydown", (event) => {
    const here = root();
    if (!here || !here.contains(event.target)) { if (event.key === "Enter") wake(); return; }
    if (event.target.getAttribute("role") === "button" && (event.key === "Enter" || event.key === " ")) {
      event.preventDefault();
      doing[event.target.dataset.act](event.target);
    }
    if (event.target.getAttribute("role") === "tab") {
      const tabs = all('[role="tab"]');
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      const last = { Home: 0, End: tabs.length - 1 }[event.key];
      if (step === undefined && last === undefined) return;
      event.preventDefault();
      const at = last !== undefined ? last : (tabs.indexOf(event.target) + step + tabs.length) % tabs.length;
      tabs[at].focus();
      show(tabs[at].dataset.tab);
    }
  });

  let hover = 0;
  document.addEventListener("pointerover", (event) => {
    if (event.pointerType !== "mouse" || !event.target.closest) return;
    const cut = event.target.closest(".eg-worst");
    if (cut && ours(cut)) cut.title = cut.innerText;
    const el = event.target.closest('#eg-root [data-act="claim"]');
    clearTimeout(hover);
    if (el) hover = setTimeout(() => { if (el.isConnected) point(el, false); }, HOVER_MS);
  });

  document.addEventListener("change", (event) => {
    const name = event.target.dataset && event.target.dataset.filter;
    if (!name) return;
    state.filter[name] = event.target.value;
    state.filter.page = 0;
    changedView();
  });

  document.addEventListener("submit", (event) => {
    const form = event.target.dataset.form;
    if (!form) return;
    event.preventDefault();
    delete event.target.dataset.dirty;
    if (form === "check") act("check", valuesOf(event.target));
    if (form === "settings") act("apply-settings", valuesOf(event.target));
    if (form === "calibrate") withFile(event.target, (given) => act("calibrate", given));
    if (form === "verify") withFile(event.target, (given) => act("verify", given));
    if (form === "report") withFile(event.target, (given) => act("open-report", given));
    if (form === "probe") act(form, Object.assign(valuesOf(event.target), { turn: state.turn }));
    if (["schema", "drift", "doctor", "replay", "compare"].includes(form)) act(form, valuesOf(event.target));
  }, true);

  function withFile(form, use) {
    const file = form.querySelector('input[type="file"]').files[0];
    if (!file) { say("Choose a file first."); return; }
    if (file.size > MOST_BYTES) { say("The file has " + file.size + " bytes; give at most " + MOST_BYTES + "."); return; }
    const rest = valuesOf(form);
    file.text().then((text) => use(Object.assign(rest, { name: file.name, text: text })));
  }

  function valuesOf(form) {
    const values = {};
    all("input[name], select[name], textarea[name]", form).forEach((el) => {
      if (el.type !== "file") values[el.name] = value(el);
    });
    return values;
  }

  function value(el) {
    if (el.dataset.kind === "bool") return el.checked;
    if (el.dataset.kind === "str" || el.tagName === "TEXTAREA") return el.value;
    const text = el.value.trim().replace(",", ".");
    return text === "" ? null : Number.isNaN(Number(text)) ? text : Number(text);
  }

  document.addEventListener("visibilitychange", () => { if (!document.hidden) { state.next = 0; beat(); } });
  window.egGuard = { message, take, taken, wake, state };
  setInterval(beat, 100);
  beat();
}
