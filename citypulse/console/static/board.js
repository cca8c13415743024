// Keeps the page fresh every two seconds, and says so loudly when it cannot: a frozen board that
// looks calm is the worst failure.
const REFRESH_MS = 2000, STALE_MS = 5000;
let heardAt = Date.now();

async function refresh() {
  try {
    const answer = await fetch("/", { cache: "no-store", signal: AbortSignal.timeout(STALE_MS) });
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    renew(document.querySelector("main"), page.querySelector("main"));
    document.querySelector("time").replaceWith(page.querySelector("time"));
    heardAt = Date.now();
  } catch { /* the stale banner below tells of it */ }
}

// Puts the new board in place of the old one without taking the keyboard's place away from whoever works by keys.
function renew(old, fresh) {
  if (old.innerHTML === fresh.innerHTML) return;
  const focused = old.contains(document.activeElement) ? document.activeElement : null;
  const [name, value] = focused?.hasAttribute("href") ? ["href", focused.getAttribute("href")]
    : ["aria-labelledby", focused?.getAttribute("aria-labelledby")];
  old.replaceWith(fresh);
  if (focused) fresh.querySelector(`[${name}="${CSS.escape(value)}"]`)?.focus({ preventScroll: true });
}

setInterval(refresh, REFRESH_MS);
setInterval(() => {
  const isStale = Date.now() - heardAt > STALE_MS;
  document.body.classList.toggle("stale", isStale);
  document.getElementById("stale").hidden = !isStale;
}, 1000);
