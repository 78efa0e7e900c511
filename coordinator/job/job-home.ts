import { JOURNAL_NAME } from "../../output/index.ts";
import { type Files, join, type Lock, makeDurableDirectory, type Place } from "../../storage/index.ts";
import { type FileJournal, type Journal, openFileJournal } from "../journal/index.ts";

/** A journal, and what it lost: see FileJournal. */
export type OpenJournal = Journal &
  Pick<FileJournal, "tornBytes" | "lostRecords"> & {
    /** Names what keeps it, for as long as that has forgotten nothing that it acknowledged; undefined, or absent: that cannot be told. */
    keeper?(): Promise<string | undefined>;
  };

/** Where a job's journal is kept: by itself, wherever its output goes. */
export interface JobHome {
  /**
   * Several coordinators may have the journal, and no lock keeps them apart: then what changes storage is done only while this one leads.
   * Else who has the output's lock has the journal.
   */
  readonly isShared: boolean;
  exists(): Promise<boolean>;
  /** Made where there is none. @throws JournalError, StorageError */
  open(): Promise<OpenJournal>;
  /**
   * Of a home that lies apart from its output: holds off other processes for as long as this one runs, which a claim of an output elsewhere
   * cannot. Absent: the output's lock does. @throws `storage/locked`
   */
  lock?(): Promise<Lock>;
  /** Removes the journal: another one is begun. */
  discard(): Promise<void>;
}

const LOCK_NAME = "lock";

/** A folder of files, beside the output or elsewhere. */
export function fileHome(files: Files, folder: Place): JobHome {
  const path = join(folder, JOURNAL_NAME);
  return {
    isShared: false,
    exists: async () => (await files.identity(path)) !== undefined,
    open: async () => {
      if ((await files.identity(folder)) === undefined) await makeDurableDirectory(files, folder);
      return openFileJournal(files, path);
    },
    discard: async () => {
      await files.remove(path);
      await files.syncDirectory(folder);
    },
  };
}

/** The same of an output that is no folder: the home has the lock that ends with its process. */
export function lockedHome(files: Files, folder: Place): JobHome {
  return {
    ...fileHome(files, folder),
    lock: async () => {
      await makeDurableDirectory(files, folder);
      return files.lock(join(folder, LOCK_NAME));
    },
  };
}

/** Whatever keeps the journals of several coordinators. It is never discarded: jobs are told apart there. */
export function sharedHome(open: () => Promise<OpenJournal>): JobHome {
  return { isShared: true, exists: async () => true, open, discard: async () => undefined };
}
