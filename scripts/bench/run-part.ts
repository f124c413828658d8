/** The process of one part: told by its parent what to measure, it sends what it measured and ends. */
import type { Section } from "./figures.ts";
import type { PartContext } from "./part.ts";
import { partNamed } from "./parts.ts";

export interface Order extends Omit<PartContext, "say"> {
  readonly part: string;
}

export type Word = { readonly say: string } | { readonly sections: readonly Section[] };

process.once("message", async (order: Order) => {
  const tell = (word: Word) => new Promise((resolve) => process.send?.(word, resolve));
  const sections = await partNamed(order.part).run({ ...order, say: (say) => void tell({ say }) });
  await tell({ sections });
  process.exit(0);
});
