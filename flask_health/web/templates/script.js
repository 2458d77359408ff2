// Keeps the page as new as its server: asks for its changing part and makes the document like it,
// node by node, so that focus, scroll position and selection stay where they are.
(() => {
  "use strict";
  const LONGEST = 30, PATIENCE = 5;  // seconds between two questions, for one answer
  const by = (id) => document.getElementById(id);
  const page = by("page"), contact = by("contact"), retry = by("retry");
  const icon = document.querySelector("link[rel=icon]");
  // Without a user and password that the address may hold: such an address cannot be fetched.
  const address = location.origin + location.pathname + "?part";
  let failures = 0, asking = false, ended = false, seen = Date.now(), next = 0;

  function become(old, fresh) {
    if (old.isEqualNode(fresh) || (old.dataset && "keep" in old.dataset)) return;
    if (old.nodeName !== fresh.nodeName) return old.replaceWith(fresh);
    if (old.nodeType !== 1) { old.data = fresh.data; return; }
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name) && name !== "open" && name !== "tabindex") old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    const before = [...old.childNodes], after = [...fresh.childNodes];
    after.forEach((node, i) => before[i] ? become(before[i], node) : old.append(node));
    before.slice(after.length).forEach((node) => node.remove());
  }

  function show(title, href) {
    if (document.title !== title) document.title = title;
    if (icon.getAttribute("href") !== href) icon.setAttribute("href", href);
  }

  function say(text) {
    if (contact.textContent !== text) contact.textContent = text;
  }

  function found(fresh) {
    become(page, fresh);
    show(page.dataset.title, page.dataset.icon);
    failures = 0;
    seen = Date.now();
    say("");
  }

  // Nobody knows how a server is that does not answer: what it said before is not shown as now.
  function lost(why) {
    failures += 1;
    if (failures < 2) return;
    if (page.className !== "lost") {
      const said = by("word"), text = document.createElement("p");
      text.className = "why";
      text.textContent = `It last said “${said.textContent}”. What is shown below is from then.`;
      said.parentNode.replaceChildren(said, text);
      said.textContent = "No answer";
      by("verdict").querySelector("use").setAttribute("href", "#g-lost");
      page.className = "lost";
      show(`No answer · ${page.dataset.title}`, icon.dataset.lost);
    }
    say(why);
  }

  function end(why) {
    ended = true;
    failures = 1;
    lost(why);
  }

  async function ask() {
    asking = true;
    try {
      const answer = await fetch(address, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE * 1000) });
      if (answer.status === 403 || answer.status === 404) return end("You may not see this page any more. Reload it to sign in.");
      if (!answer.ok) throw new Error();
      const text = await answer.text();
      const fresh = new DOMParser().parseFromString(text, "text/html").getElementById("page");
      if (!fresh) throw new Error();
      found(document.adoptNode(fresh));
    } catch {
      lost("The server does not answer.");
    } finally {
      asking = false;
      const every = Number(page.dataset.every) || 2;
      next = Date.now() + 1000 * (failures ? Math.min(every * 2 ** (failures - 1), LONGEST) : every);
    }
  }

  function look() {
    const now = Date.now(), old = Math.round((now - seen) / 1000);
    by("ago").textContent = old < 5 ? "" : `${old} s ago`;
    by("live").textContent = ended ? "no longer updated," : "";
    retry.textContent = failures < 2 || ended ? "" :
      asking ? "Asking again …" : `Asking again in ${Math.max(Math.ceil((next - now) / 1000), 0)} s.`;
    if (!asking && !ended && !document.hidden && now >= next) ask();
  }

  next = Date.now() + 1000 * (Number(page.dataset.every) || 2);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) { next = 0; look(); } });
  setInterval(look, 250);
})();
