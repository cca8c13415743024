// Keeps the page fresh every two seconds, and says so loudly when it cannot: a frozen board that
// looks calm is the worst failure.
const REFRESH_MS = 2000, STALE_MS = 5000;
let heardAt = Date.now();

async function refresh() {
  try {
    const answer = await fetch("/", { cache: "no-store", signal: AbortSignal.timeout(STALE_MS) });
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.querySelector("main").replaceWith(page.querySelector("main"));
    document.querySelector("time").replaceWith(page.querySelector("time"));
    heardAt = Date.now();
  } catch { /* the stale banner below tells of it */ }
}

setInterval(refresh, REFRESH_MS);
setInterval(() => {
  const isStale = Date.now() - heardAt > STALE_MS;
  document.body.classList.toggle("stale", isStale);
  document.getElementById("stale").hidden = !isStale;
}, 1000);
