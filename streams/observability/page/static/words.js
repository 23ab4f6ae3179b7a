// Numbers, times and names as a person reads them.

const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
export const count = (n) => (n === null || n === undefined ? "–" : grouped.format(n));
export const rate = (n) => (n === 0 ? "0" : n < 9.95 ? n.toFixed(1) : grouped.format(n));
export const clock = (t) => new Date(t * 1000).toLocaleTimeString("en-GB");
export const minute = (t) => clock(t).slice(0, 5);
export const words = (name) => name.replaceAll("_", " ");

export function duration(s) {
  if (s === null || s === undefined) return "–";
  const [value, unit] = s < 0.001 ? ["< 1", "ms"] : s < 1 ? [Math.round(s * 1000), "ms"]
    : s < 10 ? [s % 1 ? s.toFixed(1) : s, "s"] : s < 60 ? [Math.floor(s), "s"] : s < 3600 ? [Math.floor(s / 60), "min"]
    : s < 86400 ? [Math.floor(s / 3600), "h"] : [Math.floor(s / 86400), "d"];
  return `${value}\u00a0${unit}`;
}

// The same for what lasts: no fractions.
export const lasting = (s) => duration(Math.max(1, Math.floor(s)));

export function percent(share) {
  if (share === null) return "–";
  const rounded = Math.round(share * 100);
  return `${share > 0 && share < 1 ? Math.min(99, Math.max(1, rounded)) : rounded} %`;
}
