/**
 * IAM's patterns: `*` is any run of characters, `?` is any one. No regular expression, so no pattern can make it slow.
 */
const ANY_RUN = Symbol("*");
const ANY_ONE = Symbol("?");
type Token = string | typeof ANY_RUN | typeof ANY_ONE;

/** A piece of a pattern. In a literal piece, which came from the request, `*` and `?` mean themselves. */
export interface PatternPiece {
  readonly text: string;
  readonly literal: boolean;
}

export function matchesWildcard(pattern: string, text: string): boolean {
  return matchesPieces([{ text: pattern, literal: false }], text);
}

export function matchesPieces(pieces: readonly PatternPiece[], text: string): boolean {
  const pattern = pieces.flatMap(tokensOf);
  let at = 0;
  let inText = 0;
  let star = -1;
  let starText = 0;
  while (inText < text.length) {
    if (pattern[at] === ANY_RUN) {
      star = at;
      starText = inText;
      at += 1;
    } else if (at < pattern.length && (pattern[at] === ANY_ONE || pattern[at] === text[inText])) {
      at += 1;
      inText += 1;
    } else if (star >= 0) {
      // Let the last star swallow one character more and try again from behind it.
      starText += 1;
      inText = starText;
      at = star + 1;
    } else {
      return false;
    }
  }
  while (pattern[at] === ANY_RUN) at += 1;
  return at === pattern.length;
}

function tokensOf({ text, literal }: PatternPiece): Token[] {
  return Array.from({ length: text.length }, (_, at) => {
    const character = text[at] ?? "";
    if (literal) return character;
    return character === "*" ? ANY_RUN : character === "?" ? ANY_ONE : character;
  });
}
