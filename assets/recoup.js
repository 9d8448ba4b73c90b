// Improvements for browsers with scripts. Every page works without them.

// Enter submits the field, Shift+Enter starts a new line, and "/" focuses the field.
for (const field of document.querySelectorAll("[data-enter=send]")) {
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      field.form.requestSubmit();
    }
  });
}
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, textarea, select");
  const field = document.querySelector("[role=search] textarea, [role=search] input");
  if (event.key === "/" && !typing && field) {
    event.preventDefault();
    field.focus();
    field.select();
  }
});

// A button beside an ID copies it. Without scripts, the buttons stay hidden.
function enhance(root) {
  localize(root);
  for (const button of root.querySelectorAll("[data-copy-text]")) {
    button.hidden = !navigator.clipboard;
  }
}
document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("[data-copy-text]");
  if (button) {
    await navigator.clipboard.writeText(button.dataset.copyText);
    // The rest of the button's text names the ID for screen readers.
    button.firstChild.data = "Copied";
  }
});

// Times in the reader's zone. In a table, how long ago it was; the exact time is on hover and for screen readers.
const exact = new Intl.DateTimeFormat("en-GB", {
  day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", timeZoneName: "short",
});
function ago(seconds) {
  if (seconds < 60) return "just now";
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  return `${Math.floor(seconds / 3600)} h ago`;
}
function localize(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = Date.parse(time.dateTime);
    if (Number.isNaN(at)) continue;
    if (!time.firstElementChild) {
      time.title = exact.format(at);
      const [full, relative] = [document.createElement("span"), document.createElement("span")];
      full.textContent = time.title;
      // Only this part changes later, and a screen reader must not announce that.
      relative.ariaHidden = "true";
      time.replaceChildren(full, relative);
    }
    const [full, relative] = time.children;
    const seconds = (Date.now() - at) / 1000;
    const isRecent = seconds > -60 && seconds < 86400;
    const isShort = isRecent && time.closest(".time") !== null;
    full.className = isShort ? "exact" : "";
    relative.textContent = !isRecent ? "" : isShort ? ago(seconds) : ` (${ago(seconds)})`;
  }
}
enhance(document);
setInterval(() => localize(document), 60000);

// Slow fragments, such as the preflight of an order, are loaded after the page. Only the newest request of a place counts.
async function load(place, path) {
  place.dataset.loading = path;
  place.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(path, { headers: { accept: "text/html" } });
    const text = await answer.text();
    // An ended session redirects to the login page, which must not be inserted here.
    if (answer.ok && !answer.redirected && place.dataset.loading === path) {
      place.innerHTML = text;
      enhance(place);
    }
  } catch {
    // The place keeps its link, which opens the same fragment as a page.
  }
  if (place.dataset.loading === path) {
    place.removeAttribute("aria-busy");
  }
}
for (const place of document.querySelectorAll("[data-part]")) {
  load(place, place.dataset.part);
}

// The choice between several actions of an order shows its result below the choice.
for (const form of document.querySelectorAll("[data-choose]")) {
  const place = document.getElementById(form.dataset.choose);
  const choose = () => load(place, `${form.getAttribute("action")}?${new URLSearchParams(new FormData(form))}&part=1`);
  form.addEventListener("change", choose);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    choose();
  });
}

// Live updates of the receipt.
for (const place of document.querySelectorAll("[data-live]")) {
  const source = new EventSource(place.dataset.live);
  const show = (event) => {
    const open = place.querySelector("details[open]") !== null;
    place.innerHTML = event.data;
    enhance(place);
    if (open) {
      place.querySelector("details")?.setAttribute("open", "");
    }
  };
  source.addEventListener("receipt", show);
  source.addEventListener("end", (event) => {
    show(event);
    source.close();
  });
}

// A form is submitted only once.
for (const form of document.querySelectorAll("form[data-once]")) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "1";
    const button = form.querySelector("button");
    button.setAttribute("aria-disabled", "true");
    button.textContent = button.dataset.busy ?? "Sending…";
  });
}

// A page from the browser's history may be out of date.
addEventListener("pageshow", (event) => {
  if (event.persisted) {
    location.reload();
  }
});

for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = "Copied";
  });
}
for (const button of document.querySelectorAll("[data-print]")) {
  button.hidden = false;
  button.addEventListener("click", () => print());
}

// Paper cannot be unfolded. The style sheet prints closed details; a browser without that style gets them opened.
const closed = [];
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details:not([open])")) {
    details.open = true;
    closed.push(details);
  }
});
addEventListener("afterprint", () => {
  for (const details of closed.splice(0)) {
    details.open = false;
  }
});

// A running batch: fetches the page again and replaces only the changed part.
for (const place of document.querySelectorAll("[data-reload]")) {
  const reload = async () => {
    const answer = await fetch(place.dataset.reload);
    if (!answer.ok || answer.redirected) {
      return;
    }
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById(place.id);
    if (!fresh?.dataset.reload) {
      location.reload();
      return;
    }
    place.innerHTML = fresh.innerHTML;
    enhance(place);
    setTimeout(reload, 1500);
  };
  setTimeout(reload, 1500);
}
