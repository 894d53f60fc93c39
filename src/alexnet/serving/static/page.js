// The page of `alexnet serve`. An image that is dropped, pasted, chosen or photographed is posted as
// it is to three paths of the API, and each answer fills a section:
//
//   /v1/predict → labels     /v1/explain → crop, heat map, first layer     /v1/similar → neighbors
//
// Texts from the server are set as text, never as HTML. No request goes to another server.
"use strict";

const find = (id) => document.getElementById(id);
const TRIES = 4;          // of a request that the server is too busy for
const CHECK_SECONDS = 3;  // between questions whether the server answers again

let model = null;    // the answer of /v1/model
let current = null;  // AbortController of the image that is being answered
let checking = null; // timer, while the server does not answer

// A refusal of the server, which is shown to the person.
class Refusal extends Error {}

// Talking with the server.

// Fetch JSON; post `image` if there is one. Raises Refusal, or TypeError if nobody answers.
async function ask(path, image = null, signal = null) {
  const type = image && image.type.startsWith("image/") ? image.type : "application/octet-stream";
  const options = image ? { method: "POST", body: image, headers: { "Content-Type": type } } : {};
  for (let attempt = 1; ; attempt += 1) {
    const response = await fetch(path, { ...options, signal });
    showOnline();
    const answer = await response.json();
    if (response.ok) return answer;
    if (response.status !== 503 || attempt === TRIES) throw new Refusal(explainRefusal(answer));
    find("status").textContent = "The server is busy; trying again …";
    const seconds = Number(response.headers.get("Retry-After")) || 1;
    await new Promise((done) => setTimeout(done, 1000 * seconds));
    if (signal && signal.aborted) throw new DOMException("", "AbortError");
  }
}

// What is wrong with a file, in plain words before the details.
const PLAIN = {
  not_an_image: "it is no image",
  empty: "the file is empty",
  truncated: "the file is cut off",
  broken: "the file is damaged",
  unsupported: "this kind of image cannot be read",
  too_many_pixels: "it has too many pixels",
  too_much_memory: "it would take too much memory",
  too_large: "the file is too large",
  decoder_crashed: "it made the decoder crash",
  decoder_hung: "it took too long to decode",
};

function explainRefusal({ error, detail }) {
  return Object.hasOwn(PLAIN, error) ? `${PLAIN[error]} (${detail})` : detail;
}

function showOffline() {
  find("offline").textContent = navigator.onLine
    ? "The server does not answer. Is alexnet serve still running?"
    : "You are offline: this device has no network connection.";
  find("offline").hidden = false;
  checking = checking || setInterval(checkServer, 1000 * CHECK_SECONDS);
}

function showOnline() {
  if (checking) {
    clearInterval(checking);
    checking = null;
    find("status").textContent = "The server answers again.";
  }
  find("offline").hidden = true;
}

async function checkServer() {
  try {
    await fetch("/healthz");
    showOnline();
    if (!model) await loadModel();
  } catch (error) {
    showOffline();
  }
}

async function loadModel() {
  model = await ask("/v1/model");
  find("model").textContent = model.name;
  document.title = `${model.name} · alexnet`;
  const index = model.index ? `, and finds similar ones among ${model.index.images.toLocaleString("en")}` : "";
  find("about").textContent =
    `Give it an image: it names the most probable of ${model.classes.length.toLocaleString("en")} classes${index}.`;
  find("version").textContent = `· alexnet ${model.version}`;
}

// One image, from the person's hand to the sections.

async function classify(image, name) {
  if (current) current.abort();
  const mine = current = new AbortController();
  clear();
  find("status").textContent = `Looking at ${name} …`;
  try {
    if (!model) await loadModel();
    if (image.size > model.limits.body_bytes) {
      const megabytes = (bytes) => (bytes / 1e6).toFixed(1);
      throw new Refusal(`it has ${megabytes(image.size)} MB, more than the ${megabytes(model.limits.body_bytes)} MB that this server takes`);
    }
    const [labels] = await Promise.all([
      ask("/v1/predict", image, mine.signal).then((answer) => showLabels(answer, name)),
      ask("/v1/explain", image, mine.signal).then(showExplanation),
      model.index ? ask("/v1/similar", image, mine.signal).then(showNeighbors) : null,
    ]);
    find("status").textContent = "";
    find("said").textContent = labels;
  } catch (error) {
    if (error.name === "AbortError" || mine !== current) return; // another image was given meanwhile
    mine.abort();
    clear();
    if (error instanceof Refusal) {
      find("problem").textContent = `${name} cannot be used: ${error.message}.`;
    } else {
      showOffline();
      find("problem").textContent = `${name} was not answered. Give it again when the server answers.`;
    }
  }
}

function clear() {
  for (const id of ["labels", "seen", "near", "first"]) find(id).hidden = true;
  document.body.classList.remove("answered");
  find("problem").textContent = "";
  find("status").textContent = find("said").textContent = "";
}

function percent(probability) {
  return probability < 0.0005 ? "< 0.1 %" : `${(100 * probability).toFixed(1)} %`;
}

// Show the labels as bars; return them as the sentence that a screen reader hears.
function showLabels(answer, name) {
  find("name").textContent = name;
  find("bars").replaceChildren(...answer.labels.map(({ label, probability }) => {
    const item = document.createElement("li");
    const line = element(item, "div", "line");
    element(line, "span", "label").textContent = label;
    element(line, "span", "percent").textContent = percent(probability);
    const track = element(item, "div", "track");
    track.setAttribute("aria-hidden", "true");
    element(track, "div").style.width = `${100 * probability}%`;
    return item;
  }));
  find("labels").hidden = false;
  document.body.classList.add("answered");
  find("labels-title").focus({ preventScroll: false });
  const said = answer.labels.map(({ label, probability }) => `${label}, ${percent(probability)}`);
  return `Labels of ${name}: ${said.join("; ")}.`;
}

function showExplanation(answer) {
  find("crop").src = answer.crop;
  find("crop").alt = "The part of the image that the network was given";
  const { crop, side } = model.input;
  find("crop").classList.toggle("small-pixels", crop < 128);
  find("crop-caption").textContent =
    `The ${crop}×${crop} pixels that the network was given, out of the image at ${side}×${side}.`;
  const heat = answer.heat_map;
  find("heat-control").hidden = !heat;
  if (heat) {
    find("heat").src = heat.image;
    find("heat").alt = `Heat map: what spoke for ${answer.label}`;
    find("heat-caption").textContent =
      `Bright: what spoke for “${answer.label}” (Grad-CAM of ${heat.layer}).`;
  } else {
    find("heat-caption").textContent = "There is no heat map: this file of a network gives no gradient.";
  }
  setHeat();
  find("seen").hidden = false;
  const responses = answer.responses;
  find("first").hidden = !responses;
  if (responses) {
    find("responses").src = responses.image;
    find("responses").alt = `Responses of the ${responses.kernels} kernels of ${responses.layer}, one picture each`;
    find("responses-caption").textContent =
      `What the ${responses.kernels} kernels of ${responses.layer} respond to this image: white for a strong response, ` +
      "black for a strong negative one, gray for none.";
  }
}

function setHeat() {
  find("heat").hidden = find("heat-control").hidden || !find("heat-on").checked;
  find("heat").style.opacity = find("strength").value / 100;
}

function showNeighbors(answer) {
  find("near-caption").textContent =
    `The images of the index whose ${answer.layer} features are nearest, with their distance. Choose one to classify it.`;
  find("neighbors").replaceChildren(...answer.images.map((near) => {
    const item = document.createElement("li");
    const box = element(item, near.image ? "button" : "div", near.image ? "" : "still");
    if (near.image) {
      box.type = "button";
      const picture = element(box, "img");
      picture.src = near.image;
      picture.alt = "";
      picture.loading = "lazy";
      box.addEventListener("click", () => follow(near));
    }
    element(box, "span").textContent = near.label ?? "no label";
    element(box, "span", "small").textContent = near.name;
    element(box, "span", "distance").textContent = `distance ${near.distance.toPrecision(4)}`;
    return item;
  }));
  find("near").hidden = false;
}

// Classify an image of the index.
async function follow(near) {
  try {
    const response = await fetch(near.image);
    showOnline();
    if (!response.ok) throw new Refusal("its picture is not there");
    await classify(await response.blob(), near.name);
  } catch (error) {
    if (error instanceof Refusal) find("problem").textContent = `${near.name}: ${error.message}.`;
    else showOffline();
  }
}

function element(parent, kind, name = "") {
  const made = document.createElement(kind);
  if (name) made.className = name;
  parent.append(made);
  return made;
}

// The ways to give an image.

// Take the first file of a drop or a paste; say so if there is none.
function take(transfer) {
  const files = [...(transfer?.files ?? [])];
  const file = files.find((x) => x.type.startsWith("image/")) ?? files[0];
  if (file) classify(file, file.name || "the pasted image");
  else find("problem").textContent =
    "That holds no image file. Save the image first, then drop or choose the file.";
}

for (const [button, input] of [["choose", "file"], ["photograph", "camera"]]) {
  find(button).addEventListener("click", () => find(input).click());
  find(input).addEventListener("change", () => {
    const [file] = find(input).files;
    if (file) classify(file, file.name);
    find(input).value = ""; // so that the same file can be chosen again
  });
}

find("paste").hidden = !navigator.clipboard?.read;
find("paste").addEventListener("click", async () => {
  try {
    for (const item of await navigator.clipboard.read()) {
      const type = item.types.find((x) => x.startsWith("image/"));
      if (type) return classify(await item.getType(type), "the pasted image");
    }
    find("problem").textContent = "The clipboard holds no image.";
  } catch (error) {
    find("problem").textContent = "The browser did not allow reading the clipboard: press Ctrl-V instead.";
  }
});
document.addEventListener("paste", (event) => { event.preventDefault(); take(event.clipboardData); });

let depth = 0; // of the elements that a drag has entered and not left
document.addEventListener("dragenter", (event) => {
  event.preventDefault();
  depth += 1;
  document.body.classList.add("dragging");
});
document.addEventListener("dragleave", () => {
  depth -= 1;
  if (depth <= 0) document.body.classList.remove("dragging");
});
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  depth = 0;
  document.body.classList.remove("dragging");
  take(event.dataTransfer);
});

find("heat-on").addEventListener("change", setHeat);
find("strength").addEventListener("input", setHeat);
window.addEventListener("offline", checkServer); // a server on this machine may answer all the same
window.addEventListener("online", checkServer);
checkServer();
