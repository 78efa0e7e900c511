import { checkRole, type Identity } from "../trust/index.ts";

/** Who asks, as the transport knows it: by certificate, or an admin without a name where everybody may do everything. */
export type Caller = Identity;

/** @throws TrustError `trust/role` for callers that may not `action` ("submit a job") */
export function checkMayLookAfterJobs(caller: Caller, action: string): void {
  checkRole(caller, ["submitter", "admin"], action);
}
