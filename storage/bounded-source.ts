import type { Readable, Source } from "./port.ts";
import { Turns } from "./turns.ts";

/** The same source, with at most `callsMax` calls under way at once, those on what it opened included; more wait for their turn. */
export function boundedSource(source: Source, callsMax: number): Source {
  const turns = new Turns(callsMax);
  return {
    open: async (...args) => boundedReadable(await turns.take(() => source.open(...args)), turns),
    identity: (place) => turns.take(() => source.identity(place)),
    list: (folder) => turns.take(() => source.list(folder)),
    realPlace: (place) => turns.take(() => source.realPlace(place)),
  };
}

function boundedReadable(opened: Readable, turns: Turns): Readable {
  return {
    place: opened.place,
    identity: () => turns.take(() => opened.identity()),
    read: (...args) => turns.take(() => opened.read(...args)),
    close: () => opened.close(),
  };
}
