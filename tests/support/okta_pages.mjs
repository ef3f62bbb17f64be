// The stand-in's own pages: plain forms that work without script.

const escapes = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
const escape = (text) => String(text).replace(/[&<>"']/g, (c) => escapes[c]);

const style = `
  :root { color-scheme: light dark; --ink: #1c2430; --soft: #52606f; --page: #eef1f5; --card: #fff;
          --line: #8592a3; --button: #3f4ecb; --alert: #a4161a; }
  @media (prefers-color-scheme: dark) {
    :root { --ink: #e8ecf2; --soft: #a9b4c2; --page: #12161d; --card: #1b212b;
            --line: #6c7889; --button: #4c5bd8; --alert: #ff9a9d; } }
  * { box-sizing: border-box }
  body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1rem;
         background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, sans-serif }
  main { width: 100%; max-width: 24rem; padding: 2rem; border-radius: .75rem; background: var(--card);
         box-shadow: 0 1px 3px rgb(0 0 0 / .2) }
  h1 { margin: 0 0 .25rem; font-size: 1.25rem }
  p { margin: 0 0 1.25rem; color: var(--soft) }
  p[role=alert] { color: var(--alert); font-weight: 600 }
  label { display: block; margin: 1rem 0 .25rem; font-weight: 600 }
  input, button { width: 100%; min-height: 44px; padding: .5rem .75rem; border-radius: .5rem; font: inherit }
  input { border: 1px solid var(--line); background: transparent; color: inherit }
  button { margin-top: 1.5rem; border: 0; background: var(--button); color: #fff; font-weight: 600; cursor: pointer }
  :focus-visible { outline: 3px solid var(--button); outline-offset: 2px }`;

function page(title, content) {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(title)}</title>
<link rel="icon" href="data:,">
<style>${style}</style>
</head>
<body>
<main>
<h1>${escape(title)}</h1>
${content}
</main>
</body>
</html>
`;
}

export function signInPage({ action, login = '', problem }) {
  const alert = problem ? `<p role="alert">${escape(problem)}</p>` : '';
  return page('Okta stand-in · sign in', `<p>This plays the part of your company's Okta.</p>
${alert}
<form method="post" action="${escape(action)}">
<label for="username">Username</label>
<input id="username" name="username" autocomplete="username" autocapitalize="none" spellcheck="false" required value="${escape(login)}">
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required>
<button>Sign in</button>
</form>`);
}

export function signOutPage(form) {
  return page('Okta stand-in · sign out', `<p>This ends your session at the stand-in too.</p>
${form}
<button type="submit" form="op.logoutForm" value="yes" name="logout">Sign out</button>`);
}

export function notePage(title, text) {
  return page(`Okta stand-in · ${title}`, `<p>${escape(text)}</p>`);
}
