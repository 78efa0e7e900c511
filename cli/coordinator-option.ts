import { Option } from "commander";

export function coordinatorOption(): Option {
  return new Option("--coordinator <host:port>", "where the coordinator listens").env("DELTAWORKS_COORDINATOR");
}
