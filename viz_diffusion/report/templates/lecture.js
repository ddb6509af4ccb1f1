"use strict";
// Lecturer mode: the player, then each figure with its question, one at a time, controlled by the keyboard.
const lecture = (() => {
  const box = byId("lecture");
  const title = byId("slide-title");
  const notes = byId("slide-notes");
  const pen = lecturePen({
    canvas: byId("ink"),
    dot: byId("pointer"),
    penButton: byId("lecture-pen"),
    pointerButton: byId("lecture-pointer"),
    wipeButton: byId("lecture-wipe"),
  });
  const BACK = ["ArrowLeft", "ArrowUp", "PageUp"];
  const ON = ["ArrowRight", "ArrowDown", "PageDown"];

  let slides = []; // { element, title, chapter }
  let current = 0;
  let place = null; // a comment node in the original place of the element that is shown
  let before = null; // the focused element and the scroll position before lecturer mode
  let staying = false; // true while full screen ends only because the notes window opens

  const isOpen = () => !box.hidden;
  const say = (words) => (byId("lecture-said").textContent = words);

  function collect() {
    const heading = document.querySelector("h1").textContent;
    slides = [{ element: byId("player"), title: heading, chapter: null }];
    for (const chapter of document.querySelectorAll(".chapter")) {
      for (const element of chapter.querySelectorAll("figure.picture, figure.chart, .corrections")) {
        slides.push({ element, title: (chapter.querySelector("h2 .question") ?? chapter.querySelector("h2")).textContent, chapter });
      }
    }
  }

  // The element itself is moved into the slide, with its event listeners, and moved back afterwards.
  function takeDown() {
    if (!place) return;
    place.replaceWith(byId("slide").firstElementChild);
    place = null;
  }

  function putUp(index) {
    takeDown();
    pen.wipe();
    current = Math.max(0, Math.min(slides.length - 1, index));
    const { element, title: words } = slides[current];
    place = document.createComment("");
    element.replaceWith(place);
    byId("slide").append(element);
    title.textContent = words;
    byId("slide-count").textContent = fill(text.slide, { number: current + 1, count: slides.length });
    byId("slide-back").disabled = current === 0;
    byId("slide-next").disabled = current === slides.length - 1;
    writeNotes();
    title.focus({ preventScroll: true });
    box.scrollTop = 0;
    say(fill(text.slide_said, { number: current + 1, count: slides.length }));
  }

  function turn(index) {
    if (index !== current && index >= 0 && index < slides.length) putUp(index);
  }

  function writeNotes() {
    const { chapter, element } = slides[current];
    const source = chapter ?? byId("player");
    const wanted = chapter ? [".say", ".scroll:not(.chart *)", ".try .command"] : [".lede", ".facts", ".command"];
    const copies = wanted.flatMap((one) => [...source.querySelectorAll(one)]).map(terms.plain);
    for (const copy of copies) {
      copy.hidden = false;
      copy.querySelectorAll("[id]").forEach((node) => node.remove()); // ids must be unique
    }
    const caption = element.matches(".picture") && element.querySelector("figcaption");
    if (caption) {
      const words = document.createElement("p");
      words.append(...terms.plain(caption).childNodes);
      copies.splice(1, 0, words);
    }
    notes.replaceChildren(...copies);
    notesWindow.write(title.textContent, byId("slide-count").textContent, slides[current + 1]?.title, copies);
  }

  function showNotes(shown) {
    notes.hidden = !shown;
    byId("notes-toggle").setAttribute("aria-pressed", String(shown));
  }

  function toggleNotes() {
    showNotes(notes.hidden);
    say(notes.hidden ? text.notes_off : text.notes_on);
  }

  // Moves the notes to their own window, or back if the browser does not open one.
  function toggleWindow() {
    if (notesWindow.isOpen()) return notesWindow.close();
    staying = Boolean(document.fullscreenElement); // browsers end full screen when a window opens
    setTimeout(() => (staying = false), 1000);
    const opened = notesWindow.open(press, (on) => byId("notes-window").setAttribute("aria-pressed", String(on)));
    showNotes(!opened);
    writeNotes();
    say(opened ? text.notes_out : text.notes_blocked);
  }

  // Without permission the slide fills the page only; if permission comes after leaving, full screen is ended.
  function fillScreen() {
    box.requestFullscreen?.().then(() => isOpen() || document.exitFullscreen()).catch(() => {});
  }

  function open() {
    if (isOpen() || document.querySelector("dialog[open]")) return;
    before = { focus: document.activeElement, top: scrollY };
    collect();
    for (const other of document.body.children) if (other !== box) other.inert = true;
    document.documentElement.classList.add("lecturing");
    box.hidden = false;
    putUp(0);
    fillScreen();
  }

  function giveBack() {
    scrollTo({ top: before.top, behavior: "instant" });
    const goal = before.focus && before.focus !== document.body ? before.focus : byId("lecture-open");
    goal.focus({ preventScroll: true });
    byId("said").textContent = text.lecture_left;
  }

  function leave() {
    if (!isOpen()) return;
    takeDown();
    pen.putAway();
    notesWindow.close();
    notes.replaceChildren();
    box.hidden = true;
    document.documentElement.classList.remove("lecturing");
    for (const other of document.body.children) other.inert = false;
    if (document.fullscreenElement) document.exitFullscreen().then(giveBack, giveBack); // the page is inert until then
    else giveBack();
  }

  // Sliders, lists and scrolling boxes keep the keys that they use; Page keys (of a presenter) always turn the slide.
  function keepsKey(element, key) {
    if (key.startsWith("Page")) return false;
    if (element.matches("input, select")) return true;
    return element.matches("[tabindex='0']") && element.scrollHeight > element.clientHeight && !/Left|Right/.test(key);
  }

  function press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { key, target } = event;
    const outside = target.ownerDocument !== document; // in the notes window
    const letter = byId("letters").checked && !target.matches("select") ? key.toLowerCase() : "";
    if (!isOpen()) {
      if (letter !== "l" || target.matches("input:not([type=range], [type=radio], [type=checkbox]), textarea")) return;
      open();
    } else if (key === "Escape") outside ? notesWindow.close() : leave();
    else if (key === "Tab") return outside || keepFocus(event);
    else if (letter === "n") toggleNotes();
    else if (letter === "w") toggleWindow();
    else if (letter === "p") pen.choose("pen");
    else if (letter === "o") pen.choose("pointer");
    else if (letter === "x") pen.wipe();
    else if (letter === "f" && !document.fullscreenElement) fillScreen();
    else if (key === " " && !target.matches("button, select, input, summary")) {
      if (slides[current].element.matches("#ui-player, .chart")) player.toggle();
    } else if (keepsKey(target, key)) return;
    else if (BACK.includes(key)) turn(current - 1);
    else if (ON.includes(key)) turn(current + 1);
    else if (key === "Home") turn(0);
    else if (key === "End") turn(slides.length - 1);
    else return;
    event.preventDefault();
  }

  // Tab stays inside the slide, because the rest of the page is inert.
  function keepFocus(event) {
    const stops = [...box.querySelectorAll("a[href], button, input, select, summary, [tabindex='0']")].filter(
      (node) => !node.disabled && node.checkVisibility({ visibilityProperty: true }),
    );
    const [first, last] = [stops[0], stops.at(-1)];
    const leaving = event.shiftKey ? [first, title] : [last];
    if (!leaving.includes(document.activeElement)) return;
    event.preventDefault();
    (event.shiftKey ? last : first).focus();
  }

  function start() {
    byId("lecture-open").addEventListener("click", open);
    byId("lecture-leave").addEventListener("click", leave);
    byId("notes-toggle").addEventListener("click", toggleNotes);
    byId("notes-window").addEventListener("click", toggleWindow);
    byId("lecture-full").addEventListener("click", fillScreen);
    byId("slide-back").addEventListener("click", () => turn(current - 1));
    byId("slide-next").addEventListener("click", () => turn(current + 1));
    document.addEventListener("keydown", press);
    document.addEventListener("fullscreenchange", () => document.fullscreenElement || staying || leave());
    addEventListener("beforeprint", leave);
    addEventListener("pagehide", notesWindow.close);
  }

  return { start };
})();
