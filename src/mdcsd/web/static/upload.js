// The upload page: send files one after the other, watch them, show their reports.
// Whatever comes from a file or a server is set as text, never as markup.

const API = "/api/v1/jobs";
const WORDS = {
  likely_real: "likely real",
  uncertain: "uncertain",
  likely_manipulated: "likely manipulated",
  cannot_judge: "cannot judge",
};
const TRIES = 3;
const LOOK_S = 0.5;

const $ = (id) => document.getElementById(id);
const drop = $("drop");
const maxBytes = Number(drop.dataset.maxBytes);
const waiting = [];
const watched = new Set(); // rows of files that are not judged yet
let isSending = false;
let isLooking = false;
let shown = null; // the row whose report is open

const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
const tell = (text) => { $("told").textContent = text; };

function sizeText(bytes) {
  if (bytes === 0) return "0 bytes";
  const megabytes = bytes / 2 ** 20; // as the limits are
  return megabytes < 1 ? `${Math.max(1, Math.round(bytes / 2 ** 10))} kB` : `${megabytes.toFixed(1)} MB`;
}

function addRow(name, bytes, isOld = false) {
  const item = $("file").content.firstElementChild.cloneNode(true);
  item.querySelector(".name").textContent = name;
  item.querySelector(".size").textContent = sizeText(bytes);
  for (const [button, what] of [[".show", "Show report of"], [".delete", "Delete"]]) {
    item.querySelector(button).setAttribute("aria-label", `${what} ${name}`);
  }
  item.querySelector("progress").setAttribute("aria-label", `Progress of ${name}`);
  $("list")[isOld ? "append" : "prepend"](item);
  $("mine").hidden = false;
  const row = { item, name, id: null, request: null };
  item.querySelector(".delete").addEventListener("click", () => remove(row));
  item.querySelector(".show").addEventListener("click", () => show(row, true));
  return row;
}

function say(row, text, share = null) {
  row.item.querySelector(".state").textContent = text;
  const bar = row.item.querySelector("progress");
  bar.hidden = false;
  if (share === null) bar.removeAttribute("value");
  else bar.value = share;
}

function end(row, text, isFailure) {
  const isNamed = text.startsWith(row.name); // which is no word to be written large
  row.item.querySelector(".state").textContent = isNamed ? text : text.charAt(0).toUpperCase() + text.slice(1);
  row.item.querySelector("progress").hidden = true;
  row.item.classList.toggle("failed", isFailure);
  tell(`${row.name}: ${text}`);
}

// One try: [HTTP status, answer, seconds to wait]; status 0 if the connection broke.
function post(row, file) {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    row.request = request;
    row.isSent = false;
    request.open("POST", `${API}?name=${encodeURIComponent(Array.from(file.name.toWellFormed?.() ?? file.name).slice(-120).join(""))}`);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.responseType = "json";
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) say(row, "uploading", event.loaded / event.total);
    });
    request.upload.addEventListener("load", () => { row.isSent = true; });
    request.addEventListener("loadend", () => {
      const seconds = Number(request.getResponseHeader("Retry-After")) || 2;
      resolve([request.status, request.response || {}, seconds]);
    });
    request.send(file);
  });
}

async function upload(row, file) {
  if (file.size === 0) return end(row, "the file is empty (0 bytes).", true);
  if (file.size > maxBytes) return end(row, `larger than the ${sizeText(maxBytes)} taken here.`, true);
  for (let broken = 0; broken < TRIES && !row.isGone;) {
    say(row, "uploading", 0);
    const [status, answer, seconds] = await post(row, file);
    if (status === 202 && row.isGone) return void (await erase(answer.id));
    if (status === 202) return watch(row, answer);
    if (status !== 0 && status !== 429 && status !== 503) {
      return end(row, answer.detail || `refused (${status}).`, true);
    }
    broken += status === 0;
    say(row, status === 429 ? "the queue is full, waiting for a place" : "no connection, trying again");
    await sleep(seconds);
  }
  if (!row.isGone) end(row, "the connection broke while sending. The server refused the file, or is gone.", true);
}

async function sendAll() {
  if (isSending) return;
  isSending = true;
  try {
    while (waiting.length) {
      const [row, file] = waiting.shift();
      if (!row.isGone) await upload(row, file);
    }
  } finally {
    isSending = false;
  }
}

function take(files) {
  for (const file of files) {
    const row = addRow(file.name, file.size);
    say(row, "waiting to be sent");
    waiting.push([row, file]);
  }
  sendAll();
}

function watch(row, status) {
  row.id = status.id;
  if (update(row, status, true)) return;
  watched.add(row);
  look();
}

// Ask for one file after the other: a stream each would take every connection that a browser
// has for one server.
async function look() {
  if (isLooking) return;
  isLooking = true;
  try {
    while (watched.size) {
      for (const row of [...watched]) {
        const answer = await fetch(`${API}/${row.id}`).catch(() => null);
        const status = answer?.ok ? await answer.json().catch(() => null) : null;
        if (row.isGone) continue;
        if (answer?.status === 404) forget(row);
        else if (status && update(row, status, true)) watched.delete(row);
      }
      await sleep(LOOK_S);
    }
  } finally {
    isLooking = false;
  }
}

// Show where a file stands; true once that is final.
function update(row, status, isNews) {
  if (status.state === "queued") {
    say(row, status.ahead ? `waiting, ${status.ahead} before it` : "waiting");
    return false;
  }
  if (status.state === "running") {
    const share = status.total ? status.done / status.total : null;
    const isJudged = share === 1; // what is left are the heat-maps, which tell no progress
    const text = isJudged ? "making the report" : `judging, ${status.done} of ${status.total} frames`;
    say(row, share === null ? "judging" : text, isJudged ? null : share);
    return false;
  }
  if (status.state === "failed") {
    end(row, status.error, true);
    return true;
  }
  const badge = row.item.querySelector(".verdict");
  badge.textContent = WORDS[status.verdict];
  badge.className = `verdict ${status.verdict}`;
  badge.hidden = false;
  row.item.querySelector(".show").hidden = false;
  row.item.querySelector(".state").textContent = status.score === null ? "" : `score ${status.score.toFixed(3)}`;
  row.item.querySelector("progress").hidden = true;
  if (isNews) {
    tell(`${row.name}: ${WORDS[status.verdict]}`);
    if (shown === null) show(row, false);
  }
  return true;
}

async function show(row, isAsked) {
  shown = row;
  const answer = await fetch(`${API}/${row.id}`).catch(() => null);
  if (answer?.status === 404) {
    forget(row);
    if (isAsked) $("files").focus();
    return tell(`${row.name} was deleted: its time here was over.`);
  }
  if (row.isGone || shown !== row) return;
  $("report-title").textContent = `Report: ${row.name}`;
  $("report-page").href = `${API}/${row.id}/report.html`;
  $("report-json").href = `${API}/${row.id}/report.json`;
  $("report-frame").src = `${API}/${row.id}/report.html`;
  $("report-frame").title = `Report on ${row.name}`;
  $("report").hidden = false;
  if (isAsked) {
    $("report-title").focus({ preventScroll: true });
    $("report").scrollIntoView();
  }
}

function closeReport() {
  shown?.item.querySelector(".show").focus();
  shown = null;
  $("report").hidden = true;
  $("report-frame").removeAttribute("src");
}

function forget(row) {
  row.isGone = true;
  watched.delete(row);
  if (row === shown) closeReport();
  row.item.remove();
  $("mine").hidden = !$("list").children.length;
}

// Whether a file is gone from the server.
async function erase(id) {
  const answer = await fetch(`${API}/${id}`, { method: "DELETE" }).catch(() => null);
  return Boolean(answer?.ok) || answer?.status === 404;
}

async function remove(row) {
  if (!row.isSent) row.request?.abort(); // what is with the server whole is deleted by its answer
  if (row.id && !(await erase(row.id))) return tell(`${row.name} could not be deleted. Try again.`);
  forget(row);
  tell(`${row.name} was deleted.`);
  $("files").focus();
}

async function listOld() {
  const answer = await fetch(API).catch(() => null);
  if (!answer?.ok) return;
  for (const status of (await answer.json()).jobs) {
    const row = addRow(status.name, status.n_bytes, true);
    row.id = status.id;
    if (!update(row, status, false)) watch(row, status);
  }
}

$("files").addEventListener("change", (event) => {
  take(event.target.files);
  event.target.value = "";
});
$("report-close").addEventListener("click", closeReport);
for (const kind of ["dragenter", "dragover"]) {
  drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
}
for (const kind of ["dragleave", "drop"]) {
  drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.remove("over"); });
}
for (const kind of ["dragover", "drop"]) { // beside the zone too: else the file replaces the page
  window.addEventListener(kind, (event) => {
    if (event.dataTransfer?.types.includes("Files")) event.preventDefault();
  });
}
window.addEventListener("drop", (event) => take(event.dataTransfer?.files ?? []));
listOld();
