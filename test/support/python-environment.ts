import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/**
 * The interpreter of a Python environment of its own, in `.bench`, with one package from PyPI and what it needs: made where it is not there yet.
 * Aside, and moved into place, so that several may do it at once: what is called by its interpreter may be moved.
 */
export function pythonWith(name: string, requirement: string, version: string): string {
  const folder = fileURLToPath(new URL(`../../.bench/${name}/`, import.meta.url));
  const environment = join(folder, version);
  if (!existsSync(environment)) {
    mkdirSync(folder, { recursive: true });
    const aside = join(folder, `${version}.making-${process.pid}`);
    execFileSync("python3", ["-m", "venv", aside], { stdio: "inherit" });
    const pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", `${requirement}==${version}`];
    execFileSync(join(aside, "bin", "python"), pip, { stdio: "inherit" });
    if (existsSync(environment)) rmSync(aside, { recursive: true, force: true });
    else renameSync(aside, environment);
  }
  return join(environment, "bin", "python");
}
