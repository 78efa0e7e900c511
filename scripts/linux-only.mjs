/** Ends with what is the matter where the system is not Linux. `what`: that needs it, and why. @throws Error */
export function linuxOnly(what) {
  if (process.platform === "linux") return;
  throw new Error(`${what}: that is Linux alone, and this is ${process.platform}. What merges runs elsewhere too.`);
}
