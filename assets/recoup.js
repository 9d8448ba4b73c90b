// What makes the page better with a script. Everything works without it.

// Enter sends a field of one line, Shift+Enter begins another; "/" goes to the field.
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

// Parts that take a moment: the verdict of an order, asked for once the page is there.
for (const place of document.querySelectorAll("[data-part]")) {
  place.setAttribute("aria-busy", "true");
  fetch(place.dataset.part, { headers: { accept: "text/html" } })
    .then(async (answer) => {
      // A session that has ended leads to another page, which is no part of this one.
      if (answer.ok && !answer.redirected) {
        place.innerHTML = await answer.text();
      }
    })
    .catch(() => {})
    .finally(() => place.removeAttribute("aria-busy"));
}

// The receipt, as the ledger goes on.
for (const place of document.querySelectorAll("[data-live]")) {
  const source = new EventSource(place.dataset.live);
  const show = (event) => {
    const open = place.querySelector("details[open]") !== null;
    place.innerHTML = event.data;
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

// A form that sends something is sent once.
for (const form of document.querySelectorAll("form[data-once]")) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "1";
    const button = form.querySelector("button");
    button.setAttribute("aria-disabled", "true");
    button.textContent = "Sending…";
  });
}

// Back in the browser's history a form can be sent again; the ledger knows what was sent.
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

// A batch on its way: the page is read again, and only what has changed is put in.
for (const place of document.querySelectorAll("[data-again]")) {
  const again = async () => {
    const answer = await fetch(place.dataset.again);
    if (!answer.ok || answer.redirected) {
      return;
    }
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById(place.id);
    if (!fresh?.dataset.again) {
      location.reload();
      return;
    }
    place.innerHTML = fresh.innerHTML;
    setTimeout(again, 1500);
  };
  setTimeout(again, 1500);
}
