import { type FormEvent, useState } from "react";
import * as api from "../api/calls";
import { asFailure, type Failure } from "../api/failure";
import type { User } from "../api/types";
import { ErrorNotice } from "./ErrorNotice";
import { Mark } from "./Mark";

export function SignIn({ onSignedIn }: { onSignedIn: (user: User) => void }) {
  const [isNew, setIsNew] = useState(false);
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState<Failure | null>(null);

  const submit = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const field = (name: string) => String(form.get(name) ?? "").trim();
    const password = String(form.get("password") ?? "");
    const email = field("email");
    const invitation = field("invitation");
    setBusy(true);
    setFailure(null);
    try {
      onSignedIn(
        isNew
          ? await api.register({ email, password, nickname: field("nickname"), ...(invitation ? { invitation } : {}) })
          : await api.login(email, password),
      );
    } catch (error) {
      setFailure(asFailure(error));
      setBusy(false);
    }
  };

  const turn = () => {
    setIsNew(!isNew);
    setFailure(null);
  };

  return (
    <main className="gate">
      <Mark />
      <h1>{isNew ? "Create an account" : "Sign in"}</h1>
      <p className="lead">Paste a video link, get a file you own.</p>
      <form className="card stack" onSubmit={submit}>
        <label>
          Email
          <input name="email" type="email" autoComplete="username" required autoFocus maxLength={254} />
        </label>
        {isNew && (
          <label>
            Name
            <input name="nickname" autoComplete="nickname" required maxLength={64} />
          </label>
        )}
        <label>
          Password
          <input
            name="password"
            type="password"
            autoComplete={isNew ? "new-password" : "current-password"}
            required
            minLength={isNew ? 8 : 1}
            pattern={isNew ? "(?=.*[A-Za-z])(?=.*[0-9]).{8,}" : ".+"}
            title={isNew ? "At least 8 characters, with a letter and a digit" : ""}
            aria-describedby={isNew ? "password-rule" : undefined}
          />
          {isNew && <small id="password-rule">At least 8 characters, with a letter and a digit.</small>}
        </label>
        {isNew && (
          <details>
            <summary>I have an invitation</summary>
            <label>
              Invitation code
              <input name="invitation" autoComplete="off" />
            </label>
          </details>
        )}
        <button type="submit" className="primary" disabled={busy}>
          {busy ? "One moment…" : isNew ? "Create account" : "Sign in"}
        </button>
        {failure && <ErrorNotice failure={failure} />}
      </form>
      <p className="aside">
        {isNew ? "You have an account?" : "New here?"}{" "}
        <button type="button" className="link" onClick={turn}>{isNew ? "Sign in" : "Create an account"}</button>
      </p>
      {isNew && <p className="aside">The first account on a new server becomes its administrator.</p>}
    </main>
  );
}
