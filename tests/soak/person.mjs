// A person of the soak test: what they did, and so what the webhook may say of their tokens.
import { getToken, signOut } from '../support/sign_in.mjs';

export const identity = { fresh: '500ms', max_age: '1500ms', stale_if_error: '5s' };
const maxAgeMs = 1500;
const staleMs = 5000;
/** For what is under way: a question's 3 s and a busy machine. */
const graceMs = 4000;
export const tokenMs = 15_000;
export const extraGroup = 'k8s-extra';

export class Person {
  /** out, in, or changing while a request of theirs is under way. */
  state = 'out';
  /** {text, expiresAt, session}; a session is one sign-in. */
  token;
  session = 0;
  /** Tokens of sessions whose sign-out was answered. */
  ended = [];
  /** When Okta was told that it is no more; undefined while it holds. */
  lostGroupAt = 0;
  disabledAt;

  constructor(user, world) {
    Object.assign(this, { user, world });
  }

  async #change(work) {
    const earlier = this.state;
    this.state = 'changing';
    try {
      this.state = await work();
    } catch (error) {
      this.state = earlier;
      throw error;
    }
  }

  async signIn() {
    await this.#change(async () => {
      const browser = this.world.browser();
      try {
        await this.world.signIn(this.user.id, { browser });
        this.browser?.close();
        this.browser = browser;
      } catch (error) {
        browser.close();
        throw error;
      }
      this.session += 1;
      await this.#take();
      return 'in';
    });
  }

  async #take() {
    const { id_token: text } = await getToken(this.browser);
    this.token = { text, expiresAt: Date.now() + tokenMs, session: this.session };
    this.browser.answers.length = 0;
  }

  renew() {
    return this.#take();
  }

  async signOut() {
    await this.#change(async () => {
      const { token } = this;
      await signOut(this.browser);
      this.ended.push(token);
      if (this.ended.length > 5) this.ended.shift();
      return 'out';
    });
  }

  toggleGroup() {
    const has = this.user.groups.includes(extraGroup);
    this.user.groups = has ? this.user.groups.filter((g) => g !== extraGroup) : [...this.user.groups, extraGroup];
    this.lostGroupAt = has ? Date.now() : undefined;
  }

  disable() {
    this.user.disabled = true;
    this.disabledAt = Date.now();
  }

  enable() {
    this.user.disabled = false;
    this.disabledAt = undefined;
    this.state = 'out';
  }

  /** How long what Okta took away may still be seen. */
  #bound(since, weather) {
    return since > weather.fairSince ? maxAgeMs + graceMs : staleMs + graceMs;
  }

  /** What is wrong with this answer to a live token, or undefined. `sentAt` and `before` are of the question. */
  judge({ authenticated, error, user }, { sentAt, session, lostGroupAt, disabledAt, weather }) {
    if (!authenticated) {
      const mayBeOver = this.session !== session || this.state !== 'in' || disabledAt !== undefined || this.disabledAt !== undefined;
      return error || mayBeOver ? undefined : 'a live token got a definite no';
    }
    if (user.username !== this.user.id) return `${this.user.id} became ${user.username}`;
    if (disabledAt !== undefined && sentAt > disabledAt + this.#bound(disabledAt, weather)) return 'somebody whom Okta deactivated got a yes';
    if (lostGroupAt !== undefined && lostGroupAt === this.lostGroupAt && sentAt > lostGroupAt + this.#bound(lostGroupAt, weather) && user.groups.includes(extraGroup)) {
      return `a group was shown ${sentAt - lostGroupAt} ms after it was taken away`;
    }
    const known = ['k8s-viewers', extraGroup];
    const odd = (user.groups ?? []).find((group) => !known.includes(group));
    return odd && `a group from nowhere: ${odd}`;
  }
}
