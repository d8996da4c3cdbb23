import { mount } from "../../src/app/Root";
import { HubApp } from "../../src/screens/HubApp";

mount("hub", <HubApp />);
