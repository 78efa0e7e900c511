import { homedir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { stateFolder } from "../../app/state-folder.ts";
import { placeOf } from "../../storage/index.ts";

const folder = placeOf("/models/out");
const bucket = placeOf("s3://bucket/out");

test("of a folder it is the folder's own", () => {
  expect(stateFolder(folder, undefined, { XDG_STATE_HOME: "/state" })).toBeUndefined();
});

test("what is given is taken, by its whole path", () => {
  expect(stateFolder(folder, placeOf("state"), {})).toBe(join(process.cwd(), "state"));
  expect(stateFolder(bucket, placeOf("/state"), { XDG_STATE_HOME: "/other" })).toBe("/state");
});

test("of what is no folder it is one of the user's", () => {
  expect(stateFolder(bucket, undefined, { XDG_STATE_HOME: "/state" })).toBe("/state/deltaworks");
  expect(stateFolder(bucket, undefined, { LOCALAPPDATA: "/local" })).toBe("/local/deltaworks");
  expect(stateFolder(bucket, undefined, { XDG_STATE_HOME: "" })).toBe(join(homedir(), ".local/state/deltaworks"));
});
