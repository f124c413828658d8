/** IAM's patterns: `*` is any run of characters, `?` is any one. Backtracks to the last star only, so nothing is slow. */
export function matchesPattern(pattern: string, text: string): boolean {
  let at = 0;
  let inText = 0;
  let star = -1;
  let starText = 0;
  while (inText < text.length) {
    if (pattern[at] === "*") {
      star = at;
      starText = inText;
      at += 1;
    } else if (at < pattern.length && (pattern[at] === "?" || pattern[at] === text[inText])) {
      at += 1;
      inText += 1;
    } else if (star >= 0) {
      starText += 1;
      inText = starText;
      at = star + 1;
    } else {
      return false;
    }
  }
  return /^\**$/.test(pattern.slice(at));
}

export function hasWildcard(text: string): boolean {
  return /[*?]/.test(text);
}
