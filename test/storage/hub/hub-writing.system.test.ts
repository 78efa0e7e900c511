/** What the imitation of the Hub says to who writes is what Python's huggingface_hub understands. */
import { runPython } from "../../support/hub/python-hub.ts";
import { type HubRefusal, hubWritingContract } from "./hub-writing.contract.ts";

const SCRIPT = `
import json, sys
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError
call, args = sys.argv[1], json.loads(sys.argv[2])
api = HfApi()
kinds = {401: "token", 403: "denied", 404: "missing", 409: "exists", 412: "stale"}
try:
    given = None
    if call == "create":
        api.create_repo(args["id"], private=args["isPrivate"])
    elif call == "branch":
        api.create_branch(args["id"], branch=args["name"], revision=args.get("from"))
    else:
        files = [CommitOperationAdd(path, text.encode()) for path, text in args["files"].items()]
        deleted = [CommitOperationDelete(path) for path in args.get("deleted", [])]
        made = api.create_commit(args["id"], files + deleted, commit_message=args["title"], revision=args.get("branch"),
            parent_commit=args.get("parentCommit"), create_pr=args.get("isPullRequest", False))
        given = {"commit": made.oid, "pullRequest": made.pr_url}
    print(json.dumps({"given": given}))
except HfHubHTTPError as error:
    print(json.dumps({"refusal": kinds.get(error.response.status_code, "other")}))
`;

hubWritingContract("huggingface_hub", (endpoint, token, home) => {
  const call = async (name: string, args: object) => {
    const environment = { HF_TOKEN: token };
    const said = await runPython(SCRIPT, [name, JSON.stringify(args)], { endpoint, home, environment });
    return said as { refusal?: HubRefusal; given: { commit: string; pullRequest: string | undefined } };
  };
  return {
    create: async (id, isPrivate) => (await call("create", { id, isPrivate })).refusal,
    branch: async (id, name, from) => (await call("branch", { id, name, from })).refusal,
    write: async (write) => {
      const { refusal, given } = await call("write", write);
      return refusal ?? { ...given, pullRequest: given.pullRequest ?? undefined };
    },
  };
});
