/** Keeps the times of a page in the admin going. */
import { tick } from "./clock.js";

tick();
setInterval(tick, 1000);
