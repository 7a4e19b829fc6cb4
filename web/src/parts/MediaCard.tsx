import { type FormEvent, type Ref, useState } from "react";
import * as api from "../api/calls";
import { asFailure, type Failure } from "../api/failure";
import { freshKey } from "../api/key";
import type { MediaInfo } from "../api/types";
import type { Row } from "../live/board";
import { formatsFor } from "../media/choice";
import { known, queuedRow } from "../media/queued";
import { type Choice, Choices } from "./Choices";
import { ErrorNotice } from "./ErrorNotice";
import { Thumbnail } from "./Thumbnail";

/** One video: what it is, the choices, and the button. */
export function MediaCard({ media, heading, onStarted, onClose }: {
  media: MediaInfo;
  heading: Ref<HTMLHeadingElement>;
  onStarted: (rows: Row[]) => void;
  onClose: () => void;
}) {
  const qualities = media.qualities.length > 0 ? media.qualities : [{ quality: "best", label: "Best", size_bytes: null }];
  const [choice, setChoice] = useState<Choice>(() => {
    const quality = qualities[0]!.quality;
    return { quality, format: formatsFor(quality, media)[0]!, mode: "quick_download", subtitles: true };
  });
  const [key, setKey] = useState(freshKey);
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState<Failure | null>(null);
  const containers = formatsFor(choice.quality, media);

  const change = (next: Choice) => {
    const fitting = formatsFor(next.quality, media);
    setChoice(fitting.includes(next.format) ? next : { ...next, format: fitting[0]! });
    setKey(freshKey()); // another request deserves another key; the same one repeated keeps its own
  };

  const start = async (event: FormEvent) => {
    event.preventDefault();
    setBusy(true);
    setFailure(null);
    const request = { url: media.url, ...choice, ...known(media) };
    try {
      onStarted([queuedRow(await api.download(request, key), request)]);
      onClose();
    } catch (error) {
      setFailure(asFailure(error));
      setBusy(false);
    }
  };

  return (
    <form className="card media" onSubmit={start} aria-labelledby="media-title">
      <Thumbnail address={media.thumbnail} seconds={media.duration_seconds} />
      <div className="stack">
        <div>
          <h2 id="media-title" ref={heading} tabIndex={-1}>{media.title}</h2>
          <p className="muted">{[media.uploader, media.site, media.is_live ? "live" : null].filter(Boolean).join(" · ")}</p>
          {media.is_live && <p>On air now: it is recorded from here until it ends, or until you stop it and keep what there is.</p>}
        </div>
        <Choices choice={choice} qualities={qualities} formats={media.formats} containers={containers} onChange={change} />
        {failure && <ErrorNotice failure={failure} about={{ url: media.url }} />}
        <div className="row">
          <button type="submit" className="primary" disabled={busy}>{busy ? "Starting…" : media.is_live ? "Record" : "Download"}</button>
          <button type="button" className="quiet" onClick={onClose}>Close</button>
        </div>
      </div>
    </form>
  );
}
