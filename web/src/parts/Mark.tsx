export function Mark() {
  return (
    <span className="mark">
      <img src="/static/icon.svg" alt="" width="28" height="28" />
      V-Asset
    </span>
  );
}
