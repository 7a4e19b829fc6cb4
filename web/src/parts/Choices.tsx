import { useId } from "react";
import type { Format, Mode, QualityChoice } from "../api/types";
import { FORMAT_WORDS, formatLabel } from "../media/choice";
import { size } from "../words/measure";

export interface Choice { quality: string; format: string; mode: Mode; subtitles: boolean }

/** Quality, file format, and how long the file is to stay. */
export function Choices({ choice, qualities, formats, containers, onChange }: {
  choice: Choice;
  qualities: readonly QualityChoice[];
  formats: readonly Format[];
  containers: readonly string[];
  onChange: (choice: Choice) => void;
}) {
  const group = useId();
  return (
    <>
      <div className="pair">
        <label>
          Quality
          <select value={choice.quality} onChange={(event) => onChange({ ...choice, quality: event.target.value })}>
            {qualities.map((one) => (
              <option key={one.quality} value={one.quality}>
                {one.label}{one.size_bytes ? ` · ~${size(one.size_bytes)}` : ""}
              </option>
            ))}
            {formats.length > 0 && (
              <optgroup label="Exact streams of the site">
                {formats.map((one) => <option key={one.id} value={one.id}>{formatLabel(one)}</option>)}
              </optgroup>
            )}
          </select>
        </label>
        <label>
          File format
          <select value={choice.format} onChange={(event) => onChange({ ...choice, format: event.target.value })}>
            {containers.map((one) => <option key={one} value={one}>{FORMAT_WORDS[one] ?? one}</option>)}
          </select>
        </label>
      </div>
      {choice.quality !== "audio" && PICTURES.has(choice.format) && (
        <label className="tick">
          <input type="checkbox" checked={choice.subtitles} onChange={(event) => onChange({ ...choice, subtitles: event.target.checked })} />
          Subtitles, where the site has written ones
        </label>
      )}
      <fieldset className="modes">
        <legend>How long to keep the file here</legend>
        {MODES.map((mode) => (
          <label key={mode.value} className="mode">
            <input
              type="radio"
              name={group}
              checked={choice.mode === mode.value}
              onChange={() => onChange({ ...choice, mode: mode.value })}
            />
            <span>
              <strong>{mode.title}</strong>
              <small>{mode.words}</small>
            </span>
          </label>
        ))}
      </fieldset>
    </>
  );
}

const PICTURES: ReadonlySet<string> = new Set(["mp4", "mkv", "webm"]);

const MODES: readonly { value: Mode; title: string; words: string }[] = [
  { value: "quick_download", title: "Quick", words: "Save it to your device within 24 hours; then it is removed here." },
  { value: "archive_download", title: "Archive", words: "Stays on this server until you delete it." },
];
