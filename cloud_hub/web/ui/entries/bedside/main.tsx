import { mount } from "../../src/app/Root";
import { Bedside } from "../../src/screens/bedside/Bedside";

mount("bedside", <Bedside />);
