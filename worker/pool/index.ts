export { ResultBuffers } from "./buffers.ts";
export {
  streamedAtOnce,
  ThreadPool,
  type ThreadPoolListener,
  type ThreadPoolOptions,
  type UnitProgress,
} from "./thread-pool.ts";
