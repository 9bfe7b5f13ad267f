/** What a panel lets be done with the cells of its pictures: dragged elsewhere, dropped upon, or acted on with P. */
import { createContext } from "preact";

export type Acts = {
  /** What a cell stands for, as text; null where it cannot be taken. */
  take: (picture: string, row: number, column: number) => string | null;
  /** P on a cell that can be taken. */
  act?: (taken: string) => void;
  /** What is dropped on a cell, which may be of another picture. */
  drop?: (taken: string, row: number, column: number) => void;
  /** Told with a cell's value. */
  hint: string;
};
export const Acting = createContext<Acts | null>(null);
