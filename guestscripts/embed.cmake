# SPDX-License-Identifier: Apache-2.0
# cmake -DOUT=FILE.c -DROOT=DIR -P embed.cmake: the elements as C arrays.
file(GLOB elements RELATIVE ${ROOT} ${ROOT}/linux/*.sh ${ROOT}/windows/*.ps1)
list(SORT elements)
set(arrays "")
set(rows "")
set(index 0)
foreach(element ${elements})
    file(READ ${ROOT}/${element} bytes HEX)
    string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
    string(REGEX REPLACE "(................................................................................)"
        "\\1\n" bytes "${bytes}")
    get_filename_component(guest ${element} DIRECTORY)
    get_filename_component(name ${element} NAME)
    string(APPEND arrays
        "static const unsigned char element_${index}[] = {\n${bytes}\n};\n")
    string(APPEND rows "    { \"${guest}\", \"${name}\", element_${index}, "
        "sizeof(element_${index}) },\n")
    math(EXPR index "${index} + 1")
endforeach()
file(WRITE ${OUT} "/* Made by embed.cmake. */\n#include \"element.h\"\n\n"
    "${arrays}\nconst struct gs_embedded gs_embedded[] = {\n${rows}"
    "    { NULL, NULL, NULL, 0 },\n};\n")
