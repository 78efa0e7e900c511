import { jobsContract } from "./jobs.contract.ts";

jobsContract("asked directly", async (jobs) => ({ jobs, close: async () => {} }));
