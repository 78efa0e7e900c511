import { homedir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { stateFolder } from "../../app/state-folder.ts";
import { placeOf } from "../../storage/index.ts";

const folder = placeOf("/models/out");
const bucket = placeOf("s3://bucket/out");

const ofNobody = join(homedir(), ".local/state/deltaworks");

test("of a folder it is the folder's own", () => {
  expect(stateFolder(folder, undefined, { XDG_STATE_HOME: "/state" }, "linux")).toBeUndefined();
});

test("what is given is taken, by its whole path", () => {
  expect(stateFolder(folder, placeOf("state"), {}, "linux")).toBe(join(process.cwd(), "state"));
  expect(stateFolder(bucket, placeOf("/state"), { XDG_STATE_HOME: "/other" }, "linux")).toBe("/state");
});

test("of what is no folder it is one of the user's", () => {
  expect(stateFolder(bucket, undefined, { XDG_STATE_HOME: "/state" }, "linux")).toBe("/state/deltaworks");
  expect(stateFolder(bucket, undefined, { XDG_STATE_HOME: "" }, "linux")).toBe(ofNobody);
});

test("Windows' variable counts on Windows alone, after the user's own", () => {
  const both = { XDG_STATE_HOME: "/state", LOCALAPPDATA: "/local" };
  expect(stateFolder(bucket, undefined, { LOCALAPPDATA: "/local" }, "win32")).toBe("/local/deltaworks");
  expect(stateFolder(bucket, undefined, both, "win32")).toBe("/state/deltaworks");
  expect(stateFolder(bucket, undefined, { LOCALAPPDATA: "/local" }, "linux")).toBe(ofNobody);
});

test("a path that is not whole is passed over: it would be another folder for each place that a merge is started from", () => {
  expect(stateFolder(bucket, undefined, { XDG_STATE_HOME: "state" }, "linux")).toBe(ofNobody);
  expect(stateFolder(bucket, undefined, { XDG_STATE_HOME: "./state", LOCALAPPDATA: "/local" }, "win32")).toBe(
    "/local/deltaworks",
  );
});
