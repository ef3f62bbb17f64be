// SPDX-License-Identifier: Apache-2.0
// Copy buttons, and times that stay right. Every page works without this file but for copying.
'use strict';

const said = document.getElementById('said');

async function copy(button, place, text) {
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = 'Copied';
  } catch {
    getSelection().selectAllChildren(place.querySelector('code, bdi') ?? place);
    button.textContent = 'Press Ctrl-C';
  }
  said.textContent = button.textContent;
  button.disabled = true;
  setTimeout(() => {
    button.textContent = label;
    button.disabled = false;
    said.textContent = '';
  }, 2000);
}

// <li data-copy> gets a small button of its own; <pre data-copy="id"> a big one in #id-actions. A command keeps the
// space before it: that is what keeps it out of the shell's history.
for (const place of document.querySelectorAll('[data-copy]')) {
  const text = place.localName === 'pre' ? place.textContent : place.textContent.trim();
  const what = place.dataset.copy;
  const button = document.createElement('button');
  button.type = 'button';
  button.textContent = what ? `Copy ${place.dataset.what}` : 'Copy';
  if (!what) button.setAttribute('aria-label', `Copy ${text}`);
  button.addEventListener('click', () => copy(button, place, text));
  if (what) {
    document.getElementById(`${what}-actions`).prepend(button);
  } else {
    button.className = 'copy';
    place.append(button);
  }
}

// The same words as words.c has.
function span(seconds) {
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  const days = Math.floor(hours / 24);
  if (minutes < 1) return `${seconds} s`;
  if (hours < 1) return `${minutes} min`;
  if (days < 1) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return days === 1 ? '1 day' : `${days} days`;
}

function relative(ms) {
  const seconds = Math.trunc(ms / 1000);
  if (seconds === 0) return 'now';
  return seconds > 0 ? `in ${span(seconds)}` : `${span(-seconds)} ago`;
}

// Counted by the server's clock: one that is wrong here must not make a fresh token look old.
const opened = performance.now();
const then = Date.parse(document.body.dataset.now);
const times = [...document.querySelectorAll('time[data-live]')];
const untils = [...document.querySelectorAll('[data-until]')];

function tick() {
  const now = then + performance.now() - opened;
  for (const time of times) {
    const text = relative(Date.parse(time.dateTime) - now);
    if (time.textContent !== text) time.textContent = text;
  }
  for (const place of untils) place.classList.toggle('expired', Date.parse(place.dataset.until) <= now);
}

for (const time of document.querySelectorAll('time[data-clock]')) {
  time.textContent = new Date(time.dateTime).toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' });
}
for (const time of times) time.title = new Date(time.dateTime).toLocaleString();
if (times.length) setInterval(tick, 1000);

// The warning before this sign-in ends. What another tab did to it counts here too; the server has the last word.
const ending = document.getElementById('ending');

function watchEnd() {
  const words = ending.querySelector('p');
  const stay = ending.querySelector('form');
  const end = Date.parse(ending.dataset.end);
  const others = new BroadcastChannel('postern');
  let idle = Date.parse(ending.dataset.idle);
  const notice = Math.min((idle - then) / 3, 120_000);
  const now = () => then + performance.now() - opened;

  function look() {
    const left = Math.ceil((Math.min(idle, end) - now()) / 1000);
    ending.hidden = left > notice / 1000;
    if (ending.hidden) return;
    stay.hidden = left <= 0 || end <= idle;
    if (left <= 0) words.textContent = 'Your sign-in has ended. Load the page again to sign in; kubectl goes on until its own limit.';
    else if (end <= idle) words.textContent = `This sign-in ends in ${span(left)}, whatever you do, and its kubeconfigs with it. Sign in again afterwards.`;
    else words.textContent = `You will be signed out here in ${span(left)}, because nothing happens in this browser. kubectl goes on.`;
  }

  others.addEventListener('message', (event) => {
    if (event.data > idle) idle = event.data;
    look();
  });
  stay.addEventListener('submit', async (event) => {
    event.preventDefault();
    const answer = await fetch(stay.action, { method: 'POST', headers: { accept: 'application/json' } }).catch(() => null);
    if (!answer?.ok) return stay.submit();
    idle = Date.parse((await answer.json()).idle_ends);
    others.postMessage(idle);
    look();
  });
  others.postMessage(idle);
  setInterval(look, 1000);
}

if (ending) watchEnd();
