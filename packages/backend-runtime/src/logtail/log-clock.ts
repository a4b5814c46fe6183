// Points in time and durations as nginx writes them. What changes once in a second is made once in a second.

const pad = (value: number): string => String(value).padStart(2, '0');

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'] as const;
const THOUSANDTHS: readonly string[] = Array.from(
  { length: 1000 },
  (_, ms) => `.${String(ms).padStart(3, '0')}`,
);

let second = Number.NaN;
let local = '';
let iso8601 = '';

/** As in `21/Nov/2026:15:27:52 +0100`, in the process's time zone. */
export function localTime(nowMs: number): string {
  refresh(nowMs);
  return local;
}

/** As in `2026-11-21T15:27:52+01:00`, in the process's time zone. */
export function iso8601Time(nowMs: number): string {
  refresh(nowMs);
  return iso8601;
}

/** Milliseconds as seconds with three decimals: `0.004`. Never below zero. */
export function seconds(durationMs: number): string {
  const ms = durationMs > 0 ? Math.floor(durationMs) : 0;
  return ms < 1000 ? `0${THOUSANDTHS[ms]}` : `${Math.floor(ms / 1000)}${THOUSANDTHS[ms % 1000]}`;
}

function refresh(nowMs: number): void {
  const now = Math.floor(nowMs / 1000);
  if (now === second) return;
  second = now;
  const date = new Date(nowMs);
  const day = pad(date.getDate());
  const year = date.getFullYear();
  const month = date.getMonth();
  const time = `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
  const offsetMinutes = -date.getTimezoneOffset();
  const sign = offsetMinutes < 0 ? '-' : '+';
  const hours = pad(Math.floor(Math.abs(offsetMinutes) / 60));
  const minutes = pad(Math.abs(offsetMinutes) % 60);
  local = `${day}/${MONTHS[month]}/${year}:${time} ${sign}${hours}${minutes}`;
  iso8601 = `${year}-${pad(month + 1)}-${day}T${time}${sign}${hours}:${minutes}`;
}
