export { EnrollmentService } from "../proto/index.ts";
export { createToken, type JoinOptions, join, joinedFiles, renew, type Token } from "./client.ts";
export { CallError } from "./errors.ts";
export { serveJoining } from "./join-server.ts";
export { keepRenewed, type RenewalOptions, renewalWaitMs } from "./renewal.ts";
export { type EnrollmentEvent, type EnrollmentOptions, enrollmentService, nameFor } from "./service.ts";
